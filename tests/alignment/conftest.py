# SPDX-License-Identifier: BSD-3-Clause
"""Shared helpers of the alignment tests: small simulated fields and a run of the recipe on them."""

from __future__ import annotations

import numpy as np
import pytest

from muse_core.data.tangent_plane import TanWcs
from muse_core.framework import run_recipe
from muse_core.simulate.fields import (
    PIXEL_ARCSEC,
    FieldImage,
    FieldPlan,
    render_stars,
    simulate_fields,
    true_offsets,
    write_fields,
)


class Aligned:
    """Products of one run, by tag."""

    def __init__(self, products):
        self.paths = {}
        for product in products:
            self.paths.setdefault(product.tag, []).append(product.path)

    def table(self, tag="OFFSET_LIST", number=0):
        from astropy.io import fits

        return fits.getdata(self.paths[tag][number], 1)

    def header(self, tag="OFFSET_LIST", number=0, ext=0):
        from astropy.io import fits

        return fits.getheader(self.paths[tag][number], ext)

    def qc(self, key, tag="OFFSET_LIST"):
        return self.header(tag)[f"ESO QC EXPALIGN {key}"]

    def offsets(self):
        table = self.table()
        return np.column_stack([table["RA_OFFSET"], table["DEC_OFFSET"]])


@pytest.fixture
def align(tmp_path, monkeypatch):
    """Return a function that runs the recipe on images, paths or (path, tag) pairs."""
    monkeypatch.delenv("MUSE_RECIPES_COMPAT", raising=False)

    def run(images, params=None, *, compat=False, report=False, **more):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        for old in out.iterdir():
            old.unlink()
        frames = []
        for item in images:
            if isinstance(item, tuple):
                frames.append(item)
            elif hasattr(item, "wcs"):
                frames.append((write_fields([item], folder)[0], "IMAGE_FOV"))
            else:
                frames.append((item, "IMAGE_FOV"))
        if compat:
            monkeypatch.setenv("MUSE_RECIPES_COMPAT", "1")
        else:
            monkeypatch.delenv("MUSE_RECIPES_COMPAT", raising=False)
        return Aligned(
            run_recipe("muse_exp_align", frames, {**(params or {}), **more}, workdir=out, report=report)
        )

    run.out = tmp_path / "out"
    return run


def sky_error_arcsec(images, offsets):
    """Recovered minus true offsets in arcsec on the sky, float64[n, 2]."""
    error = (offsets - true_offsets(images)) * 3600.0
    error[:, 0] *= np.cos(np.radians(images[0].wcs.crval[1]))
    return error


def small_fields(**changes):
    """Three fields of 120 x 110 pixels with some twenty stars."""
    plan = {
        "exposures": 3,
        "shape": (110, 120),
        "stars": 25,
        "dither_arcsec": 0.5,
        "error_arcsec": 0.6,
        "seed": 3,
    }
    return simulate_fields(FieldPlan(**{**plan, **changes}))


def exposures_of(
    stars, errors, *, shifts=None, shape=(200, 200), mode="WFM", turns=(0.0,), fwhm=4.0, noise=2.0,
    levels=(1.0,), seed=1, centre=(150.1, -27.8),
):  # fmt: skip
    """Exposures of given stars.

    Parameters
    ----------
    stars : (east, north, peak) in arcsec from the centre, for all exposures, or a list of such lists
    errors, shifts : (east, north) in arcsec of the headers and of the pointings, one for each exposure
    turns : degrees that the headers do not tell
    levels : factors on all stars
    """
    rng = np.random.default_rng(seed)
    step = PIXEL_ARCSEC[mode] / 3600.0
    cosdec = np.cos(np.radians(centre[1]))
    shifts = shifts or [(0.0, 0.0)] * len(errors)
    crpix = (shape[1] / 2.0, shape[0] / 2.0)
    images = []
    for n, (error, shift) in enumerate(zip(errors, shifts, strict=True)):
        mine = np.array(stars[n] if stars and isinstance(stars[0], list) else stars).reshape(-1, 3)
        pointing = (centre[0] + shift[0] / 3600.0 / cosdec, centre[1] + shift[1] / 3600.0)
        error = (error[0] / 3600.0 / cosdec, error[1] / 3600.0)
        angle = np.radians(turns[n % len(turns)])
        cosine, sine = np.cos(angle) * step, np.sin(angle) * step
        true = TanWcs(crpix, pointing, ((-cosine, sine), (sine, cosine)))
        x, y = true.pixel(centre[0] + mine[:, 0] / 3600.0 / cosdec, centre[1] + mine[:, 1] / 3600.0)
        data = render_stars(shape, x - 1.0, y - 1.0, mine[:, 2] * levels[n % len(levels)], fwhm)
        data = (data + rng.normal(0.0, noise, shape)).astype(np.float32)
        data[:8], data[-8:], data[:, :8], data[:, -8:] = (np.nan,) * 4
        images.append(
            FieldImage(
                data=data,
                wcs=TanWcs(
                    crpix, (pointing[0] + error[0], pointing[1] + error[1]), ((-step, 0.0), (0.0, step))
                ),
                error=error,
                exptime=900.0,
                number=n,
                mode=f"{mode}-NOAO-N" if mode == "WFM" else "NFM-AO-N",
                x=x - 1.0,
                y=y - 1.0,
            )
        )
    return images


def random_stars(seed, count, *, half=17.0, faintest=80.0, brightest=3000.0):
    """Stars for `exposures_of`, evenly spread within ``half`` arcsec of the centre."""
    rng = np.random.default_rng(seed)
    peak = faintest * (brightest / faintest) ** rng.uniform(size=count)
    return list(zip(*rng.uniform(-half, half, (2, count)), peak, strict=True))
