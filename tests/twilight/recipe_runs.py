# SPDX-License-Identifier: BSD-3-Clause
"""Runs of the recipe and changed inputs, for several test files."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.framework import run_recipe

OPTIONS = {"dlambda": 500.0}


def run(frames, folder, **settings):
    threads = settings.pop("threads", 2)
    products = run_recipe("muse_twilight", frames, OPTIONS | settings, workdir=folder, threads=threads)
    return {p.tag: p.path for p in products}


def data_of(path):
    with fits.open(path) as hdus:
        return {h.name.lower(): np.array(h.data) for h in hdus if h.data is not None}


def keywords(path):
    header = fits.getheader(path)
    return {k: header[k] for k in header if k.startswith(("ESO QC", "ESO DRS"))}


def replaced(frames, tag, path=None):
    """The frames with those of one tag replaced or left out."""
    rest = [f for f in frames if f[1] != tag]
    return rest + ([(path, tag)] if path else [])


def edited(source: Path, target: Path, change) -> Path:
    """A copy of a FITS file after ``change(hdus)``."""
    with fits.open(source, memmap=False) as hdus:
        hdus = fits.HDUList([h.copy() for h in hdus])
        change(hdus)
        hdus.writeto(target, overwrite=True)
    return target
