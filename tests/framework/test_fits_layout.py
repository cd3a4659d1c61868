# SPDX-License-Identifier: BSD-3-Clause
"""The walk over the headers of a file finds what a full reader finds, and stops where the file is broken."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import RecipeError
from muse_core.framework.checksums import word_sum
from muse_core.framework.fits_layout import card_value, primary, units
from muse_core.framework.products import DataSums, sign, write_hdus

pytestmark = pytest.mark.unit


@pytest.fixture
def path(tmp_path):
    head = fits.PrimaryHDU()
    head.header["DATAMD5"] = ("0" * 32, "MD5 checksum")
    head.header["OBJECT"] = ("it's / here", "a name")
    for i in range(80):  # more than one block
        head.header[f"HIERARCH ESO TEST KEY{i}"] = i
    image = fits.ImageHDU(np.arange(1000.0, dtype=np.float32).reshape(40, 25), name="DATA")
    table = fits.BinTableHDU.from_columns(
        [fits.Column("lambda", "E", unit="Angstrom", array=np.arange(7.0)), fits.Column("name", "8A")]
    )
    stat = fits.ImageHDU(np.ones((3, 4, 5), np.int16), name="STAT")
    write_hdus(tmp_path / "file.fits", fits.HDUList([head, image, table, stat]))
    return tmp_path / "file.fits"


def test_same_places_and_values_as_a_full_reader(path):
    found = units(path)
    with fits.open(path) as hdus:
        assert len(found) == len(hdus)
        for unit, hdu in zip(found, hdus):
            info = hdu.fileinfo()
            assert (unit.start, unit.data_start) == (info["hdrLoc"], info["datLoc"])
            assert unit.end == info["datLoc"] + info["datSpan"]
            assert fits.Header.fromstring(unit.header).tostring() == hdu.header.tostring()
            for key in ("BITPIX", "EXTNAME", "TUNIT1", "DATASUM", "OBJECT", "EXTEND", "ABSENT"):
                assert unit.get(key) == hdu.header.get(key)
    assert primary(path) == found[0]


def test_values():
    text = "".join(
        line.ljust(80)
        for line in ("A       =  -1.5D3 / x", "B       = ''", "C       =", "D       = 12", "E       = F / no")
    )
    assert [card_value(text, key) for key in "ABCDEZ"] == [-1500.0, "", None, 12, False, None]


def test_broken_files(path, tmp_path):
    content, whole = path.read_bytes(), units(path)
    broken = tmp_path / "broken.fits"
    broken.write_bytes(content[: whole[2].start + 100])  # in the header of the third unit
    assert units(broken) == whole[:2]
    broken.write_bytes(content[: whole[1].data_start + 10])  # in the data of the second
    assert units(broken) == whole[:2]
    for start in (b"", b"hello", content[:2000]):
        broken.write_bytes(start)
        with pytest.raises(ValueError, match="SIMPLE|END"):
            units(broken)
    broken.write_bytes(content.replace(b"NAXIS   =                    0", b"NAXIS   =                  'x'"))
    with pytest.raises(ValueError, match="NAXIS"):
        units(broken)


@pytest.mark.parametrize("hashed", [0, 1 << 10, 4000, 5760])
def test_signature_from_what_the_writer_knows(path, hashed):
    reference = path.with_name("reference.fits")
    reference.write_bytes(path.read_bytes())
    sign(reference)
    content, layout = path.read_bytes(), units(path)
    data = b"".join(content[unit.data_start : unit.end] for unit in layout)
    known = DataSums([word_sum(content[unit.data_start : unit.end]) for unit in layout[:3]])
    known.add(data[:hashed])
    sign(path, known, chunk=2880)
    assert path.read_bytes() == reference.read_bytes()
    assert primary(path).get("DATAMD5") == hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_short_files_are_not_signed(path):
    content = path.read_bytes()
    path.write_bytes(content[:-2880])
    with pytest.raises(RecipeError, match="disk full"):
        sign(path)
