# SPDX-License-Identifier: BSD-3-Clause
"""Primary headers: the same values as astropy reads, and a plain reason for every broken file."""

from __future__ import annotations

import gzip
import warnings

import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from muse_core.calib.cards import HeaderError, Wanted, parse_value, read_primary, walk_extensions
from tests.calib.archive import header, write

pytestmark = pytest.mark.unit
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
VALUES = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30),
)
KEYS = ("MJD-OBS", "OBJECT", "ESO INS MODE", "ESO PRO CATG", "ESO PRO REC1 CAL1 NAME", "ESO DET READ CURNAME")


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.integers(0, 40))
def test_values_are_those_of_astropy(values, others):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = fits.Header()
        for n in range(others):
            written[f"HIERARCH ESO TEL SENS{n} VAL"] = n
        for key, value in values.items():
            written[("HIERARCH " if key.startswith("ESO") else "") + key] = (value, "comment")
        text = written.tostring(padding=False).encode("ascii")
        expected = {key: written[key] for key in values}
    read = Wanted(["MJD-OBS", "OBJECT", "ESO INS MODE", "ESO PRO ", "ESO DET READ CURNAME"]).parse(text)
    assert set(read) == set(expected)
    for key, value in expected.items():
        if isinstance(value, str):
            assert read[key] == value.rstrip()
        else:
            assert read[key] == pytest.approx(value, rel=1e-12)  # digits that fit on a card


def test_long_strings_are_continued():
    written = fits.Header()
    written["OBJECT"] = "a name of " + "more than one card " * 6
    text = written.tostring(padding=False).encode("ascii")
    assert Wanted(["OBJECT"]).parse(text)["OBJECT"] == written["OBJECT"].rstrip()


@given(st.binary(max_size=70))
def test_any_bytes_have_a_value_or_none(text):
    assert parse_value(text) is None or isinstance(parse_value(text), str | int | float | bool)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=400))
def test_any_deck_of_cards_is_read(noise):
    Wanted(["ESO PRO ", "OBJECT"]).parse(b"HIERARCH ESO PRO CATG = " + noise)


def test_packed_files_give_the_same(tmp_path):
    plain = write(tmp_path / "a.fits", {"OBJECT": "M 1"} | {f"ESO TEL X{n}": n for n in range(2000)})
    wanted = Wanted(["OBJECT"])
    expected = read_primary(plain, wanted)
    assert expected.values == {"OBJECT": "M 1"}
    assert len(expected.text) > 144_000
    (tmp_path / "a.fits.fz").write_bytes(plain.read_bytes())
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert read_primary(tmp_path / "a.fits.fz", wanted) == expected
    assert read_primary(tmp_path / "a.fits.gz", wanted) == expected


def lzw(data: bytes) -> bytes:
    """Pack as compress does, in the simplest legal way: letters of nine bits, the table cleared every 199."""
    codes = [code for k in range(0, len(data), 199) for code in (*data[k : k + 199], 256)]
    bits = sum(code << (9 * n) for n, code in enumerate(codes))
    return b"\x1f\x9d\x90" + bits.to_bytes(-(-9 * len(codes) // 8), "little")


def test_files_of_compress(tmp_path):
    plain = write(tmp_path / "a.fits", {"OBJECT": "M 1"})
    (tmp_path / "a.fits.Z").write_bytes(lzw(plain.read_bytes()))
    expected = read_primary(plain, Wanted(["OBJECT"]))
    assert read_primary(tmp_path / "a.fits.Z", Wanted(["OBJECT"])) == expected


GOOD = header({"OBJECT": "x"})
BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"hello world, no FITS", "no FITS file"),
    "one letter": (b"x", "no FITS file"),
    "cut": (GOOD[:100], "cut off"),
    "no END": (GOOD.replace(b"END", b"EMD"), "cut off"),
    "html": (b"<html>please log in</html>" * 200, "no FITS file"),
    "zeros": (bytes(5760), "no FITS file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(tmp_path, name):
    content, reason = BROKEN[name]
    for suffix in (".fits", ".fits.fz"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(content)
        with pytest.raises(HeaderError, match=reason):
            read_primary(path, Wanted(["OBJECT"]))


@pytest.mark.parametrize("suffix", [".gz", ".Z"])
def test_broken_packed_files_are_named(tmp_path, suffix):
    for content in (b"", b"no gzip at all" * 10, gzip.compress(GOOD)[:60]):
        path = tmp_path / f"x.fits{suffix}"
        path.write_bytes(content)
        with pytest.raises(HeaderError):
            read_primary(path, Wanted(["OBJECT"]))


def test_a_header_without_end_is_given_up(tmp_path):
    path = tmp_path / "x.fits"
    with path.open("wb") as stream:
        stream.write(GOOD[:80])
        stream.seek(30_000_000)
        stream.write(b"x")
    with pytest.raises(HeaderError, match="no END card in the first 10 MB"):
        read_primary(path, Wanted(["OBJECT"]))


def test_axes_beyond_all_measure_are_not_walked(tmp_path):
    path = tmp_path / "x.fits"
    path.write_bytes(header({"NAXIS": 10**12}))
    with pytest.raises(HeaderError, match="has NAXIS = 1000000000000"):
        list(walk_extensions(path, Wanted([])))


def test_walking_tells_a_file_that_is_cut(tmp_path):
    path = tmp_path / "x.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data=[[1, 2]], name="CHAN01")]).writeto(path)
    wanted = Wanted(["EXTNAME"])
    assert [values for *_, values in walk_extensions(path, wanted)] == [{}, {"EXTNAME": "CHAN01"}]
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(HeaderError, match="cut off"):
        list(walk_extensions(path, wanted))
