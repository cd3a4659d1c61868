# SPDX-License-Identifier: BSD-3-Clause
"""The framework: declarations, SOF files, headers and checksums of products."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from muse_core.framework import Param, ParameterError, RecipeSpec, registry, sof
from muse_core.framework.checksums import encode_checksum, word_sum
from muse_core.framework.products import set_card, sign, write_hdus
from tests.golden import FOLDER

pytestmark = pytest.mark.unit

SPEC = RecipeSpec(
    "muse_test",
    "A test",
    params=(
        Param("n", 3),
        Param("x", 1.5),
        Param("on", True),
        Param("kind", "a", choices=("a", "b")),
        Param("s", ""),
    ),
)


def test_values_complete_the_defaults():
    values = SPEC.values({"muse.muse_test.n": "7", "on": "FALSE"})
    assert (values.n, values.x, values.on, values.kind) == (7, 1.5, False, "a")
    assert values.is_default("kind")


@pytest.mark.parametrize("value", ["1.7", "1e2", True, None, "", 2.5])
def test_an_integer_is_an_integer(value):
    with pytest.raises(ParameterError):
        SPEC.values({"n": value})


@pytest.mark.parametrize("value", ["True", 1, "yes", None])
def test_a_boolean_is_true_or_false(value):
    with pytest.raises(ParameterError):
        SPEC.values({"on": value})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_as_text(number):
    assert SPEC.values({"x": repr(number)}).x == number


def test_sof_rules(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA", "/d")
    monkeypatch.delenv("NOTHING", raising=False)
    text = (
        "\t$DATA/a.fits  OBJECT\n#no\n\n${DATA}/b.fits X RAW more words\nc.fits\n"
        "$NOTHING/e.fits T other\n~/f.fits T\n"
    )
    frames = sof.parse_sof(text)
    assert [(str(f.path), f.tag, f.group) for f in frames[:4]] == [
        ("/d/a.fits", "OBJECT", None),
        ("/d/b.fits", "X", "RAW"),
        ("c.fits", "", None),
        ("/e.fits", "T", None),
    ]
    assert frames[4].path == Path.home() / "f.fits"
    fits.PrimaryHDU().writeto(tmp_path / "x.fits")
    assert sof.load_sof(tmp_path / "x.fits")[0].tag == "COMMAND_LINE"
    with pytest.raises(sof.MissingFileError, match="absent.sof"):
        sof.load_sof(tmp_path / "absent.sof")


@given(st.text(max_size=200))
def test_any_text_can_be_read_as_a_sof(text):
    sof.parse_sof(text)


@given(
    st.sampled_from(["OBJECT", "ESO QC MUSE LONG NAME", "ESO PRO REC1 PARAM12 VALUE"]),
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
        st.integers(-(2**31), 2**31),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
    ),
    st.text(max_size=90),
)
def test_every_value_fits_into_a_card(key, value, comment):
    if key == "OBJECT" and isinstance(value, str) and len(value.replace("'", "''")) > 68:
        return  # plain keywords are continued over cards
    header = fits.Header()
    set_card(header, key, value, comment)
    assert all(len(line) == 80 for line in [str(card) for card in header.cards])
    stored = header[key]
    if isinstance(value, str):
        assert value.rstrip().startswith(stored.rstrip())
    else:
        assert stored == pytest.approx(value, rel=1e-15)


@given(st.binary(max_size=400).map(lambda b: b + bytes(-len(b) % 4)))
def test_checksum_of_a_unit_with_its_code_is_zero(data):
    # the value is computed with sixteen ASCII zeros in its place, see the FITS standard, appendix J
    code = encode_checksum(word_sum(data + b"0" * 16))
    assert len(code) == 16
    assert code.isalnum()
    # a CHECKSUM value starts at byte 12 of its card (aligned to words, rotated by one)
    rotated = code[1:] + code[0]
    assert word_sum(data + rotated.encode()) == 0xFFFFFFFF


def test_signed_files_pass_astropys_checks(tmp_path, recwarn):
    data = np.random.default_rng(0).normal(size=(100, 90)).astype(np.float32)
    primary = fits.PrimaryHDU()
    primary.header["DATAMD5"] = ("0" * 32, "MD5 checksum")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(7.0))])
    path = tmp_path / "x.fits"
    write_hdus(path, fits.HDUList([primary, fits.ImageHDU(data, name="DATA"), table]))
    sign(path, chunk=2880)
    with fits.open(path, checksum=True) as hdus:
        np.testing.assert_array_equal(hdus[1].data, data)
        md5 = hashlib.md5(usedforsecurity=False)
        for hdu in hdus:
            info = hdu.fileinfo()
            md5.update(path.read_bytes()[info["datLoc"] : info["datLoc"] + info["datSpan"]])
        assert hdus[0].header["DATAMD5"] == md5.hexdigest()
    assert not recwarn.list


@pytest.mark.golden
def test_all_recipes_declare_what_the_c_recipes_declare():
    reference = json.loads((FOLDER / "recipe_metadata.json").read_text())
    for name, expected in reference.items():
        spec = registry.load(name).spec
        assert spec.version == expected["version"]
        ours = [
            {"alias": p.name, "type": p.type_name, "default": p.default, "hidden": p.hidden,
             "choices": list(p.choices) if p.choices else None}
            for p in spec.c_params
        ]  # fmt: skip
        theirs = [
            {key: p[key] for key in ("alias", "type", "default", "hidden", "choices")}
            for p in expected["params"]
        ]
        assert ours == theirs


@pytest.mark.parametrize(
    ("variables", "notes"),
    [
        ({"OMP_NUM_THREADS": "3,2"}, 0),
        ({"MUSE_RECIPES_MEMORY": "2G"}, 1),
        ({"MUSE_RECIPES_MEMORY": "1,300"}, 1),
        ({"OMP_NUM_THREADS": "all", "MUSE_RECIPES_MEMORY": "0"}, 2),
        ({"OMP_NUM_THREADS": "\u00b2"}, 1),
    ],
)
def test_variables_that_cannot_be_read_are_told(variables, notes):
    from muse_core.framework import Environment

    environment = Environment.read(variables)
    assert len(environment.notes) == notes
    assert environment.threads >= 1
    assert environment.memory_bytes == Environment.read({}).memory_bytes
