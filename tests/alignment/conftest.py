# SPDX-License-Identifier: BSD-3-Clause
"""Shared helpers of the alignment tests: small simulated fields and a run of the recipe on them."""

from __future__ import annotations

import numpy as np
import pytest

from muse_core.framework import run_recipe
from muse_core.simulate.fields import FieldPlan, simulate_fields, true_offsets, write_fields


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
