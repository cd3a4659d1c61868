# SPDX-License-Identifier: BSD-3-Clause
"""Inputs whose data are not those that their sums were made of."""

from __future__ import annotations

import contextlib
import logging

import numpy as np
import pytest
from astropy.io import fits

from muse_core.detector.declarations import NIFU
from muse_core.framework.checksums import changed_data, left_behind
from muse_core.framework.errors import InputError
from muse_core.framework.frames import Frame
from muse_core.framework.input_files import plain_copy
from muse_core.framework.input_sums import InputSums, compared_beside
from muse_core.framework.spec import RecipeSpec

pytestmark = pytest.mark.unit
NONE = RecipeSpec("muse_x", "").values()


@pytest.fixture
def signed(tmp_path):
    """A file with sums, of which one unit is longer than what is summed at a time."""
    pixels = np.random.default_rng(1).normal(100.0, 5.0, (300, 400)).astype(np.float32)
    rows = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.arange(7.0))], name="ROWS")
    path = tmp_path / "signed.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels, name="STAT"), rows]).writeto(path, checksum=True)
    return path


def _change(path, unit):
    content = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        place = hdus[unit].fileinfo()
    content[place["datLoc"] + 11] ^= 1
    path.write_bytes(content)


def test_sums_of_astropy_hold(signed):
    assert list(changed_data(signed)) == []


@pytest.mark.parametrize(("unit", "name"), [(1, "extension 1 (STAT)"), (2, "extension 2 (ROWS)")])
def test_a_wrong_bit_in_the_data_is_told_with_its_unit(signed, unit, name):
    _change(signed, unit)
    ((where, expected, found),) = changed_data(signed)
    assert where == name
    assert expected != found


def test_edited_headers_and_files_that_cannot_be_read_pass(signed, tmp_path):
    with fits.open(signed, mode="update") as hdus:
        hdus[1].header["OBJECT"] = "M 87"
    short = tmp_path / "short.fits"
    short.write_bytes(signed.read_bytes()[:20000])
    text = tmp_path / "text.reg"
    text.write_text("image; circle(1,1,1)\n")
    for path in (signed, short, text, tmp_path / "absent.fits"):
        assert list(changed_data(path)) == []


@pytest.mark.parametrize("key", ["DATASUM", "EXTNAME"])
def test_a_card_that_cannot_be_read_is_left_to_its_reader(signed, key):
    _change(signed, 2)
    content = signed.read_bytes()
    at = content.index(key.encode().ljust(8) + b"= ", 2880)
    signed.write_bytes(content[: at + 10] + b"4..2".ljust(70) + content[at + 80 :])
    assert [where for where, _, _ in changed_data(signed)] == ["extension 2 (ROWS)"]


def test_of_the_ifus_those_that_are_read_are_compared(tmp_path):
    pixels = np.arange(100.0, dtype=np.float32).reshape(10, 10)
    names = ["CHAN04", "CHAN05.DATA", "CHAN06.DATA", "OTHER"]
    merged, single = tmp_path / "merged.fits", tmp_path / "single.fits"
    images = [fits.ImageHDU(pixels, name=name) for name in names]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(merged, checksum=True)
    one = fits.PrimaryHDU()
    one.header["EXTNAME"] = "CHAN06"
    fits.HDUList([one, fits.ImageHDU(pixels, name="DATA")]).writeto(single, checksum=True)
    for path, unit in ((merged, 1), (merged, 2), (merged, 3), (merged, 4), (single, 1)):
        _change(path, unit)

    def changed(path, nifu):
        values = RecipeSpec("muse_x", "", params=(NIFU,)).values({"nifu": nifu})
        return [where.partition("(")[2][:-1] for where, _, _ in changed_data(path, values.wants)]

    assert changed(merged, 0) == changed(merged, -1) == names
    assert changed(merged, 5) == ["CHAN05.DATA", "OTHER"]
    assert changed(single, 6) == changed(single, 0) == ["DATA"]
    assert changed(single, 5) == []


def test_tiles_may_have_lost_digits(signed, tmp_path):
    packed, plain = tmp_path / "packed.fits", tmp_path / "plain.fits"
    with fits.open(signed) as hdus:
        tiles = fits.CompImageHDU(hdus[1].data, hdus[1].header, name="STAT", compression_type="RICE_1")
        fits.HDUList([hdus[0].copy(), tiles]).writeto(packed, checksum=True)
    plain_copy(packed, plain, "tiles")
    assert list(changed_data(plain)) == []


@pytest.mark.parametrize("fails", [False, True])
def test_the_warning_names_file_unit_and_remedy(fails, signed, caplog):
    _change(signed, 1)
    frames, log = [Frame(signed, "X"), Frame(signed, "Y")], logging.getLogger("test.sums")
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(InputError) if fails else contextlib.nullcontext(),
        compared_beside(frames, NONE, log),
    ):
        if fails:
            raise InputError(signed, "STAT", expected="numbers", found="none")
    (message,) = caplog.messages
    for word in (str(signed), "extension 1 (STAT)", "DATASUM", "copy or make it again"):
        assert word in message


def test_what_the_memory_does_not_hold_is_left_out_and_told(signed, tmp_path, caplog):
    small = tmp_path / "small.fits"
    fits.PrimaryHDU(np.arange(9.0)).writeto(small, checksum=True)
    _change(signed, 1)
    _change(small, 0)
    frames = [Frame(signed, "X"), Frame(small, "Y")]
    sums = InputSums(frames, NONE, logging.getLogger("test.sums"), room=signed.stat().st_size)
    sums.start()
    with caplog.at_level(logging.INFO):
        sums.finish()
    assert [message.partition(":")[0] for message in caplog.messages[:-1]] == [str(small)]
    assert caplog.messages[-1].startswith("1 inputs of 2 were not compared")


def test_an_interrupted_run_does_not_wait(signed, caplog):
    _change(signed, 1)
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(KeyboardInterrupt),
        compared_beside([Frame(signed, "X")], NONE, logging.getLogger("test.sums")),
    ):
        raise KeyboardInterrupt
    assert not caplog.messages


def test_a_stopped_comparison_finds_nothing(signed):
    _change(signed, 1)
    assert list(changed_data(signed, stopped=lambda: True)) == []


def test_more_rows_than_the_header_says_are_told(tmp_path, caplog):
    path = tmp_path / "table.fits"
    fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(1, 9))]).writeto(path)
    assert not list(left_behind(path))
    text = path.read_bytes()
    at = text.index(b"NAXIS2  =")
    card = text[at : at + 80]
    path.write_bytes(text.replace(card, card.replace(b" 8 ", b" 2 ")))
    assert list(left_behind(path)) == [("extension 1", 24)]
    with compared_beside([Frame(path, "X")], NONE, logging.getLogger("test.sums")):
        pass
    (message,) = caplog.messages
    assert str(path) in message and "24 bytes" in message
