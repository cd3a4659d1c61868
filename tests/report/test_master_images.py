# SPDX-License-Identifier: BSD-3-Clause
"""Pages of masters after the run: levels and images, of files per IFU and merged."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.report.makers import maker
from muse_core.report.master_images import read_images

pytestmark = pytest.mark.unit


def images(prefix, level):
    data = np.full((40, 50), level, np.float32)
    data[0, 0] = 1e6
    flags = np.zeros((40, 50), np.int32)
    flags[0, :5] = 1
    return [
        fits.ImageHDU(data, name=f"{prefix}DATA"), fits.ImageHDU(flags, name=f"{prefix}DQ"),
        fits.ImageHDU(data, name=f"{prefix}STAT"),
    ]  # fmt: skip


def test_files_of_ifus_and_merged_ones_say_the_same(tmp_path):
    single = []
    for ifu, level in ((3, 1.0), (7, 1.0), (9, 1.0), (11, 4.0)):
        path = tmp_path / f"MASTER_FLAT-{ifu:02d}.fits"
        primary = fits.PrimaryHDU()
        primary.header["EXTNAME"], primary.header["OBJECT"] = f"CHAN{ifu:02d}", "FLAT"
        fits.HDUList([primary, *images("", level)]).writeto(path)
        single.append(path)
    merged = tmp_path / "MASTER_FLAT.fits"
    parts = [hdu for ifu, level in ((3, 1.0), (7, 1.0)) for hdu in images(f"CHAN{ifu:02d}.", level)]
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(merged)
    (first,) = read_images(single[0])
    assert (first.ifu, first.level, first.scatter) == (3, 1.0, 0.0)
    assert first.flagged == 5 / 2000
    assert [one.ifu for one in read_images(merged)] == [3, 7]
    page = maker(["MASTER_FLAT"])({"MASTER_FLAT": single})
    assert page.verdict == "MASTER_FLAT of 4 IFUs, median 1 of its mean."
    assert page.looks == ["IFU 11: the level is far from that of the others."]
    assert [section.title for section in page.sections] == ["levels", "images"]
    assert maker(["MASTER_FLAT"])({"MASTER_FLAT": [merged]}).verdict.startswith("MASTER_FLAT of 2 IFUs")
