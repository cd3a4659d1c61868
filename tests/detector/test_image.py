# SPDX-License-Identifier: BSD-3-Clause
"""Images in memory and on disk are the same; damaged files are told as such."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.detector.fitsfile import extensions, opened
from muse_core.detector.image import Image, ImageRoom, Window, band, bands
from muse_core.detector.masters import find_masters
from muse_core.framework import InputError

pytestmark = pytest.mark.unit
SHAPE = (70, 300)  # five blocks of columns, the last one narrow


def picture(seed=0):
    rng = np.random.default_rng(seed)
    data, stat = (rng.normal(size=SHAPE).astype(np.float32) for _ in range(2))
    flags = (rng.random(SHAPE) < 0.1).astype(np.int32) * 0x1000
    flags[:, 64:128] = 0  # a block without flags, and last rows without
    flags[50:] = 0
    return Image(data, stat, flags)


@pytest.mark.parametrize("on_disk", [False, True])
def test_parts_come_back(tmp_path, on_disk):
    whole = picture()
    with ImageRoom(tmp_path, on_disk=on_disk) as room:
        image = room.new(SHAPE)
        for first, last in bands(SHAPE[0]):
            image.put(first, whole.rows(first, last))
        assert image.nsaturated == np.count_nonzero(whole.dq == 0x1000)
        for window in (Window(0, 70, 0, 300), Window(3, 41, 100, 290), Window(69, 70, 299, 300)):
            part = image.window(window)
            for found, plane in zip(part, whole, strict=True):
                assert np.array_equal(found, plane[window.y0 : window.y1, window.x0 : window.x1])
        assert np.array_equal(band(image, 5, 9).data, whole.data[5:9])
        assert not list(tmp_path.iterdir())


def test_parts_of_a_master(tmp_path):
    whole = picture()
    primary = fits.PrimaryHDU()
    primary.header["EXTNAME"] = "CHAN07"
    planes = [
        fits.ImageHDU(plane, name=name) for name, plane in zip(("DATA", "STAT", "DQ"), whole, strict=True)
    ]
    path = tmp_path / "m.fits"
    fits.HDUList([primary, *planes]).writeto(path)
    master = find_masters([path], {})[7]
    assert master.plain
    for part in (master.window(Window(2, 60, 17, 211)), master.whole()):
        rows = slice(2, 60) if part.data.shape != SHAPE else slice(None)
        columns = slice(17, 211) if part.data.shape != SHAPE else slice(None)
        for found, plane in zip(part, whole, strict=True):
            assert np.array_equal(found, plane[rows, columns])


def test_what_cannot_be_read_later_is_told(tmp_path):
    path = tmp_path / "cut.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((60, 80)), name="DATA")]).writeto(path)
    path.write_bytes(path.read_bytes()[:20000])
    with (
        pytest.raises(InputError, match=r"cut\.fits.*readable FITS file"),
        opened(path, memmap=False) as hdus,
    ):
        hdus["DATA"].data.sum()


def test_a_header_that_is_cut_off_is_told(tmp_path):
    path = tmp_path / "cut.fits"
    image = [fits.ImageHDU(np.zeros((4, 4)), name=f"CHAN0{ifu}") for ifu in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *image]).writeto(path)
    path.write_bytes(path.read_bytes()[: 3 * 2880 + 400])
    with pytest.raises(InputError, match="extension 2"), opened(path) as hdus:
        list(extensions(hdus))
