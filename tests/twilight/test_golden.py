# SPDX-License-Identifier: BSD-3-Clause
"""Stored products of C muse_twilight 2.8.7: the model from its data cubes (needs the golden data)."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.twilight.model import fit_twilight, white_image
from muse_core.twilight.vignetting import align_mask, nfm_mask
from tests.conftest import golden_folder

pytestmark = pytest.mark.parity
FOLDER = (golden_folder() or Path("/nonexistent")) / "twilight"
needs_golden = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="golden data not found (set MUSE_RECIPES_GOLDEN)"
)
KEYS = {"vignsmooth": "method", "vignxpar": "xpar", "vignypar": "ypar", "vignmaskedges": "edge_limit"}


def stored(name):
    with fits.open(FOLDER / name, memmap=False) as hdus:
        return {h.name.lower(): np.array(h.data) for h in hdus if h.data is not None}


def vignetting_mask(shape):
    """The mask of the golden field set (a quarter disc in the upper right corner of 320 x 320 pixels)."""
    y, x = np.mgrid[1:321, 1:321]
    return align_mask(np.hypot(x - 310.4, y - 310.4) < 45, shape)


@needs_golden
@pytest.mark.parametrize("name", ["mini_default", "field_vign", "nfm_default"])
def test_model_from_the_stored_cube(name):
    cube, expected = stored(f"{name}_DATACUBE_SKYFLAT.fits.gz"), stored(f"{name}_TWILIGHT_CUBE.fits.gz")
    shape = cube["white"].shape
    area = {"field_vign": vignetting_mask, "nfm_default": lambda s: nfm_mask(s, 22)}.get(name)
    narrow = name.startswith("nfm")
    model = fit_twilight(cube["data"], cube["white"], area(shape) if area else None, narrow_field=narrow)
    assert np.array_equal(white_image(cube["data"]), cube["white"], equal_nan=True)
    # 0.3 % of the narrow-field values, where the quartic correction is small, differ by up to 3.3e-6
    limit = {"rtol": 5e-6 if narrow else 1e-6, "atol": 0}
    assert (np.abs(model.planes / expected["data"] - 1) > 1e-6).mean() < (0.004 if narrow else 1e-9)
    assert np.allclose(model.planes, expected["data"], **limit)
    assert np.allclose(model.global_fit, expected["white_global_fit"], **limit)
    assert np.allclose(model.ratio, expected["white_div_global"], equal_nan=True, **limit)
    assert np.array_equal(~model.good, expected["white_div_global_dq"] != 0)
    if area:
        edge = model.vignetting
        assert np.allclose(edge.correction, expected["vign_fit"], **limit)
        assert np.allclose(model.corrected, expected["white_cor"], equal_nan=True, **limit)
        assert np.array_equal(~edge.region, expected["vign_fit_dq"] != 0)
        assert np.array_equal(~edge.fit_region, expected["white_cor_dq"] != 0)


@needs_golden
@pytest.mark.parametrize("name", ["novign", "median", "gauss", "noedge", "poly23", "order"])
def test_options_of_the_field_set(name):
    run = json.loads((FOLDER / "field_runs.json").read_text())[name]
    options = dict(text[2:].split("=") for text in run["options"])
    cube, expected = stored("field_vign_DATACUBE_SKYFLAT.fits.gz"), np.load(FOLDER / f"field_{name}.npz")
    settings = {}
    for key, target in KEYS.items():
        if key in options:
            settings[target] = options[key] if key == "vignsmooth" else float(options[key])
    for key in ("xpar", "ypar"):
        if key in settings:
            settings[key] = int(settings[key])
    area = vignetting_mask(cube["white"].shape) if "vign" in run["inputs"] else None
    orders = {key: int(options.get(key, 2)) for key in ("xorder", "yorder")}
    model = fit_twilight(cube["data"], cube["white"], area, **orders, **settings)
    assert np.allclose(model.planes[2], expected["twilight2"], rtol=1e-6)
    if "vign_fit" in expected:
        assert np.allclose(model.vignetting.correction, expected["vign_fit"], rtol=1e-6)
    expected.close()
