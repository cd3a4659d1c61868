# SPDX-License-Identifier: BSD-3-Clause
"""A cube whose content is known, and a browser."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from tests.oracle import need_program

NZ, NY, NX = 120, 50, 60
STARS = ((20.3, 15.1, 400.0), (41.0, 32.5, 250.0))
SEEING = 4.0  # pixels, FWHM


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    """Two stars on noise of the variance that STAT tells, a bright line of the sky, an empty corner."""
    rng = np.random.default_rng(8)
    y, x = np.indices((NY, NX))
    image = sum(f * np.exp(-4 * np.log(2) * ((x - a) ** 2 + (y - b) ** 2) / SEEING**2) for a, b, f in STARS)
    stat = np.full((NZ, NY, NX), 4.0, np.float32)
    stat[60:64] = 100.0
    data = (image + rng.normal(size=stat.shape) * np.sqrt(stat)).astype(np.float32)
    data[:, :8, :8] = stat[:, :8, :8] = np.nan
    header = fits.Header(
        {"CRVAL3": 7000.0, "CRPIX3": 1.0, "CD3_3": 1.25, "CTYPE3": "AWAV", "CTYPE1": "RA---TAN",
         "CTYPE2": "DEC--TAN", "CD1_1": -0.2 / 3600, "CD2_2": 0.2 / 3600, "CD1_2": 0.0, "CD2_1": 0.0,
         "BUNIT": "10**(-20)*erg/(s*cm**2*Angstrom)"}
    )  # fmt: skip
    path = tmp_path_factory.mktemp("cube") / "DATACUBE_FINAL.fits"
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = "two stars"
    extensions = [fits.ImageHDU(d, header, name=n) for n, d in (("DATA", data), ("STAT", stat))]
    fits.HDUList([primary, *extensions]).writeto(path)
    return path


@pytest.fixture(scope="module")
def browser():
    """One headless browser for all tests."""
    chromium = need_program("chromium", "chromium-browser", "google-chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()
