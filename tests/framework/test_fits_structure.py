# SPDX-License-Identifier: BSD-3-Clause
"""What headers promise is compared with the file before a reader sees it; changed cards, drawn with seeds."""

from __future__ import annotations

import gzip
import time
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError
from muse_core.framework.fits_file import column_numbers, open_fits, read_header
from muse_core.framework.fits_structure import check_structure, unreadable_cards

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path):
    """Make a file with an image, a binary table and a table in text form."""
    head = fits.PrimaryHDU()
    head.header["EXPTIME"] = (600.0, "seconds / a comment")
    head.header["HIERARCH ESO INS MODE"] = "WFM-NOAO-N"
    image = fits.ImageHDU(np.arange(2000.0, dtype=np.float32).reshape(40, 50), name="DATA")
    columns = [
        fits.Column("lambda", "D", unit="Angstrom", array=np.linspace(4000, 9000, 300)),
        fits.Column("counts", "J", null=-7, array=np.arange(300)),
        fits.Column("bits", "3X", array=np.ones((300, 3), bool)),
        fits.Column("name", "8A", array=["star"] * 300),
    ]
    text = fits.TableHDU.from_columns([fits.Column("x", "F10.3", array=np.ones(4))], name="TEXT")
    hdus = [head, image, fits.BinTableHDU.from_columns(columns, name="CURVE"), text]
    fits.HDUList(hdus).writeto(tmp_path / "file.fits")
    return tmp_path / "file.fits"


def card_changed(path, key, text, unit=0):
    """Replace the value of a card, as a faulty writer would."""
    content = bytearray(path.read_bytes())
    start = check_structure(path)[unit].start
    at = content.index(f"{key:<8}=".encode(), start)
    content[at : at + 80] = f"{key:<8}= {text}".ljust(80).encode()
    path.write_bytes(content)


def test_a_sound_file_is_let_through(path):
    assert [unit.size for unit in check_structure(path)] == [0, 8000, 300 * 21, 4 * 10]
    with open_fits(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DATA", "CURVE", "TEXT"]


BROKEN = (
    (0, "BITPIX", "17", "BITPIX"),
    (0, "BITPIX", "'x'", "BITPIX"),
    (0, "NAXIS", "1000000000000000000000", "NAXIS"),
    (0, "NAXIS", "-1", "NAXIS"),
    (0, "NAXIS", "5", "NAXIS1.*no such keyword"),
    (0, "NAXIS", "T", "NAXIS"),
    (1, "NAXIS1", "9223372036854775807", "extension 1.*truncated"),
    (1, "NAXIS1", "99999999999999999999999999", "extension 1.*truncated"),
    (1, "NAXIS1", "-50", "NAXIS1"),
    (1, "NAXIS1", "50.0", "NAXIS1"),
    (1, "NAXIS2", "'many'", "NAXIS2"),
    (1, "NAXIS2", "= = =", "card 5.*NAXIS2"),
    (1, "PCOUNT", "-1", "PCOUNT"),
    (1, "GCOUNT", "4294967296", "truncated"),
    (2, "NAXIS1", "0", "NAXIS1.*21 bytes"),
    (2, "NAXIS1", "4", "NAXIS1.*21 bytes"),
    (2, "NAXIS", "1", "2 .a table"),
    (2, "BITPIX", "-32", "8 and 2|truncated"),
    (2, "GCOUNT", "0", "GCOUNT"),
    (2, "TFIELDS", "1000", "TFIELDS"),
    (2, "TFIELDS", "-1", "TFIELDS"),
    (2, "TFIELDS", "2", "NAXIS1.*12 bytes"),
    (2, "TFORM1", "'1Z'", "TFORM1"),
    (2, "TFORM1", "'999999999999999999D'", "NAXIS1"),
    (2, "TFORM1", "7", "TFORM1"),
    (2, "TTYPE2", "3", "TTYPE2"),
    (2, "TNULL2", "1.5", "TNULL2"),
    (2, "TNULL2", "'none'", "TNULL2"),
    (3, "TBCOL1", "0", "TBCOL1"),
    (3, "TFORM1", "'E'", "TFORM1"),
    (0, "EXPTIME", "6 0 0", "card 5: .*EXPTIME = 6 0 0"),
    (0, "EXPTIME", "NaN", "card 5: .*EXPTIME = NaN"),
    (0, "EXPTIME", "'abc", "card 5: "),
)


@pytest.mark.parametrize(("unit", "key", "text", "words"), BROKEN)
def test_promises_that_cannot_be_true(path, unit, key, text, words):
    card_changed(path, key, text, unit)
    began = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"file\.fits.*{words}"), open_fits(path):
        pass
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("key", ["BSCALE", "BZERO", "BLANK", "TSCAL2", "TZERO2", "THEAP"])
@pytest.mark.parametrize("value", ["x", True])
def test_scales_that_are_no_numbers(path, key, value):
    unit = 1 if key.startswith("B") else 2
    with fits.open(path, mode="update") as hdus:
        hdus[unit].header["EXTVER"] = 1
    content = path.read_bytes()
    shown = "'x'" if value == "x" else "T"
    path.write_bytes(content.replace(b"EXTVER  =                    1", f"{key:<8}= {shown:>20}".encode()))
    if key == "THEAP" or unit == 1 or value is True or key.startswith("TS") or key.startswith("TZ"):
        with pytest.raises(InputError, match=key), open_fits(path):
            pass


def test_scaled_values_and_missing_ones(tmp_path):
    path = tmp_path / "scaled.fits"
    columns = [
        fits.Column("a", "I", null=7, array=[7, 20, 30]),
        fits.Column("b", "J", null=20, array=[7, 20, 30]),
    ]
    table = fits.BinTableHDU.from_columns([*columns, fits.Column("c", "2E"), fits.Column("d", "3A")])
    table.header["TSCAL1"], table.header["TZERO1"] = 0.5, 10.0
    image = fits.ImageHDU(np.array([[1, 2]], np.int16))
    fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(path)
    content = path.read_bytes()
    free = content.index(b"END".ljust(80), 2880)
    more = f"{'BLANK':<8}= {2:>20}".ljust(80) + f"{'BSCALE':<8}= {3.0:>20}".ljust(80) + "END".ljust(80)
    path.write_bytes(content[:free] + more.encode() + content[free + len(more) :])
    with open_fits(path) as hdus:
        np.testing.assert_equal(column_numbers(hdus[2], "a"), [np.nan, 20.0, 25.0])
        np.testing.assert_equal(column_numbers(hdus[2], "b"), [7.0, np.nan, 30.0])
        np.testing.assert_equal(hdus[1].data, [[3.0, np.nan]])
        with pytest.raises(ValueError, match="2 numbers"):
            column_numbers(hdus[2], "c")
        with pytest.raises(TypeError, match="3A"):
            column_numbers(hdus[2], "d")


def test_packed_files_are_unpacked_and_gone(path, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    packed = tmp_path / "file.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_header(packed)["EXPTIME"] == 600.0
    packed.write_bytes(gzip.compress(path.read_bytes()[:9000]))
    with pytest.raises(InputError, match=r"file\.fits\.gz: extension 1"), open_fits(packed):
        pass
    packed.write_bytes(packed.read_bytes()[:900])
    with pytest.raises(InputError, match=r"file\.fits\.gz.*gzip"), open_fits(packed):
        pass
    assert not list(scratch.iterdir())


def test_headers_without_end(path):
    content = path.read_bytes()
    path.write_bytes(content[:2880].replace(b"END  ", b"END_ ") + b" " * (12 << 20))
    began = time.perf_counter()
    with pytest.raises(InputError, match="no END"), open_fits(path):
        pass
    assert time.perf_counter() - began < 5
    path.write_bytes(content + b"XTENSION= 'IMAGE   '".ljust(2880))
    with pytest.raises(InputError, match="extension 4 has no END"), open_fits(path):
        pass
    path.write_bytes(content + b"\0" * 2880)  # what stands behind the last unit does not count
    with open_fits(path) as hdus:
        assert len(hdus) == 4


def test_tiles_that_are_too_large(tmp_path):
    path = tmp_path / "tiles.fits"
    image = fits.CompImageHDU(np.zeros((40, 50), np.int16), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    with open_fits(path) as hdus:
        assert hdus[1].data.shape == (40, 50)
    for value in (1 << 40, 0):
        content = bytearray(path.read_bytes())
        at = content.index(b"ZNAXIS1 =")
        content[at : at + 80] = f"ZNAXIS1 = {value:>20}".ljust(80).encode()
        path.write_bytes(content)
        with pytest.raises(InputError, match="tiles.fits.*(when unpacked|size)"), open_fits(path):
            pass


@pytest.mark.parametrize("seed", range(150))
def test_random_damage_is_told_or_harmless(path, seed):
    """Bytes, cards and lengths changed at random: an InputError or the data, nothing else."""
    rng = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(4)
        if kind == 0:  # bytes of a header
            at = rng.integers(0, len(content))
            content[at : at + 1] = bytes([rng.integers(256)])
        elif kind == 1:  # the value of a card
            at = 80 * rng.integers(0, len(content) // 80)
            value = rng.choice(["-1", "99999999999", "'x'", "T", "1E999", "", "0", "1..2", "2147483648"])
            content[at + 10 : at + 80] = str(value).ljust(70).encode()
        elif kind == 2:  # cards in another order, or twice
            a, b = 80 * rng.integers(0, len(content) // 80, 2)
            content[a : a + 80] = content[b : b + 80]
        else:
            del content[rng.integers(1, len(content)) :]
            if not content:
                content = bytearray(b" ")
    path.write_bytes(content)
    try:
        with open_fits(path) as hdus:
            for hdu in hdus:
                _ = hdu.data if hdu.header.get("NAXIS") else None
    except InputError as error:
        assert "file.fits" in str(error)


def test_cards_that_no_reader_takes():
    good = (
        "A       = 'it''s' / x",
        "B       =   -1.5D3",
        "C       =",
        "D       = (1.0, 2.0)",
        "COMMENT = x = =",
    )
    assert list(unreadable_cards("".join(card.ljust(80) for card in good))) == []
    bad = "HIERARCH ESO X = abc", "E       = T3", "F       = '\x00026'", "HIERARCH ESO Y = 'a\x07b'"
    assert [n for n, _ in unreadable_cards("".join(card.ljust(80) for card in bad))] == [1, 2, 3, 4]


def test_what_follows_the_last_extension(path):
    content = path.read_bytes()
    path.write_bytes(content + b"A line of text that somebody has added\n")
    with open_fits(path) as hdus:
        assert len(hdus) == 4
    path.write_bytes(content.replace(b"XTENSION= 'TABLE", b"EXTENSION= TABLE"))
    with pytest.raises(InputError, match="extension 3 does not begin with XTENSION"), open_fits(path):
        pass
    path.write_bytes(content.replace(b"XTENSION= 'TABLE   '", b"XTENSION= 'DUMP    '"))
    with pytest.raises(InputError, match="extension 3: keyword XTENSION: .*DUMP"), open_fits(path):
        pass
