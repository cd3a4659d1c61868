# SPDX-License-Identifier: BSD-3-Clause
"""Samples of the pixels of a file: what they hold, and that they do not cost the memory of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.pixel_rules import pixel_samples
from muse_core.data.stored_image import StoredImage
from muse_core.framework.fits_file import open_units


def _mapped() -> int:
    """Bytes of files that lie in the memory of this process."""
    words = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(words["RssFile"].split()[0])


@pytest.mark.unit
def test_samples_are_pairs_of_neighbouring_rows(tmp_path: Path) -> None:
    image = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(image, name="DATA"), fits.ImageHDU(image + 1, name="STAT")]
    ).writeto(tmp_path / "image.fits")
    ((where, pixels),) = pixel_samples(tmp_path / "image.fits")
    assert where == ""
    np.testing.assert_array_equal(pixels["DATA"], image)
    np.testing.assert_array_equal(pixels["STAT"], image + 1)


@pytest.mark.unit
def test_a_merged_master_does_not_lie_in_the_memory(tmp_path: Path) -> None:
    path, shape = tmp_path / "merged.fits", (2048, 2048)
    with path.open("wb") as stream:  # holes instead of numbers: it takes no room on the disk
        stream.write(fits.PrimaryHDU().header.tostring().encode())
        for number in range(1, 9):
            for kind in ("DATA", "STAT"):
                header = fits.ImageHDU(name=f"CHAN{number:02d}.{kind}").header
                header["BITPIX"] = -32
                header["NAXIS"] = 2
                header.insert("NAXIS", ("NAXIS1", shape[1]), after=True)
                header.insert("NAXIS1", ("NAXIS2", shape[0]), after=True)
                stream.write(header.tostring().encode())
                stream.truncate(stream.seek(-(-4 * shape[0] * shape[1] // 2880) * 2880, 1))
    before, most, channels = _mapped(), 0, 0
    for _where, pixels in pixel_samples(path):
        assert set(pixels) == {"DATA", "STAT"}
        most, channels = max(most, _mapped()), channels + 1
    assert channels == 8
    assert most - before < 20e6  # of 270 MB


@pytest.mark.unit
@pytest.mark.parametrize(
    ("kind", "cards"),
    [
        ("f4", {}),
        ("f8", {"BSCALE": 0.3}),
        ("f4", {"BSCALE": 0.3, "BZERO": 7.1}),
        ("u1", {"BZERO": -128}),
        ("i2", {"BZERO": 32768}),
        ("i2", {"BSCALE": 0.7, "BZERO": 1.1, "BLANK": 5}),
        ("i4", {"BLANK": 5}),
        ("i4", {"BSCALE": 0.7}),
        ("i8", {}),
    ],
)  # fmt: skip
def test_a_run_of_pixels_is_what_astropy_reads(tmp_path: Path, kind: str, cards: dict[str, float]) -> None:
    path = tmp_path / "image.fits"
    hdu = fits.ImageHDU(np.arange(60, dtype=kind).reshape(3, 4, 5), name="DATA")
    size = len(fits.PrimaryHDU().header.tostring())
    plain = fits.HDUList([fits.PrimaryHDU(), hdu])
    plain.writeto(path)
    header = fits.getheader(path, 1)
    header.update(cards)
    with path.open("r+b") as stream:  # cards of the scale beside numbers that stay as they are
        stream.seek(size)
        stream.write(header.tostring().encode())
    with fits.open(path) as hdus:
        expected = np.asarray(hdus[1].section[:, :, :], dtype=np.float64).ravel()[7:31]
    with open_units(path) as (stream, (_, unit)):
        image = StoredImage.of(stream, unit)
        assert image.shape == (3, 4, 5)
        np.testing.assert_array_equal(image.run(7, 24), expected)
        with pytest.raises(EOFError):
            image.run(50, 20)
