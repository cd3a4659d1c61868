# SPDX-License-Identifier: BSD-3-Clause
"""Stored products of C muse_scibasic 2.8.7 (made by ``python -m tests.basic.make_golden``)."""

import json

import numpy as np
import pytest

from muse_core.framework import run_recipe
from tests.basic.golden_parts import EVERY, parts_of
from tests.golden import golden_set

pytestmark = pytest.mark.golden
FOLDER = golden_set("scibasic")
RUNS = json.loads((FOLDER / "runs.json").read_text())
EXACT = ("xpos", "ypos", "lambda", "dq", "origin", "DQ")


@pytest.mark.parametrize("name", RUNS)
def test_products_of_c(tmp_path, name):
    """Rows, positions, wavelengths, flags exactly; values within 1e-6, flat-field spectrum within 1e-12."""
    case = RUNS[name]
    frames = [(FOLDER / path, tag) for path, tag in case["frames"]]
    options = case["options"] | {"compat": True}
    products = run_recipe("muse_scibasic", frames, options, workdir=tmp_path, threads=2)
    assert sorted(product.path.name for product in products) == case["products"]
    for product in products:
        stem = f"{name}_{product.path.stem}"
        arrays, headers = parts_of(product.path, EVERY)
        expected = np.load(FOLDER / f"{stem}.npz")
        assert set(arrays) == set(expected.files)
        for key in expected.files:
            if key.removesuffix(".all") in EXACT:
                assert np.array_equal(arrays[key], expected[key]), key
            elif key.startswith("PIXTABLE_FLAT_FIELD"):
                assert np.allclose(arrays[key], expected[key], rtol=1e-12, atol=0), key
            elif key.endswith(".all"):
                assert arrays[key][0] == expected[key][0], key
                assert arrays[key][1] == pytest.approx(expected[key][1], rel=1e-6), key
            else:
                scale = np.maximum(np.abs(expected[key]), 1)
                difference = np.abs(arrays[key].astype(float) - expected[key]) / scale
                assert np.array_equal(np.isnan(arrays[key]), np.isnan(expected[key])), key
                assert np.nanmax(difference) < 1e-6, key
        expected.close()
        _assert_keywords(json.loads((FOLDER / f"{stem}.json").read_text()), headers)


def _assert_keywords(expected, found):
    assert set(found) == set(expected)
    for extension, words in expected.items():
        own = found[extension]
        left = {key for key in own if key.startswith(("ESO QC ", "ESO DRS "))}
        assert left == {key for key in words if key.startswith(("ESO QC ", "ESO DRS "))}
        for key, value in words.items():
            if "POLY Y" in key:
                continue  # terms of the overscan polynomial: rounding of high powers
            if isinstance(value, float) and "PARAM" not in key:
                shift = key == "ESO QC SCIBASIC LAMBDA SHIFT"
                assert own[key] == pytest.approx(value, rel=0 if shift else 2e-6, abs=1e-6 if shift else 0), (
                    key
                )
            else:
                assert own[key] == value, key
