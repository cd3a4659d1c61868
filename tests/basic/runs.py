# SPDX-License-Identifier: BSD-3-Clause
"""Runs of muse_scibasic, for several test files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.framework import run_recipe

SHIFT = 0.2  # Angstrom: where the lines lie in the simulated frames
COLUMNS = ("xpos", "ypos", "lambda", "data", "stat", "dq", "origin")


def run(frames, folder: Path, **settings) -> dict[str, Path]:
    """Products by file name."""
    threads = settings.pop("threads", 2)
    folder.mkdir(exist_ok=True)
    products = run_recipe("muse_scibasic", frames, settings, workdir=folder, threads=threads)
    return {product.path.name: product.path for product in products}


def columns(path: Path) -> dict[str, np.ndarray]:
    """Columns of a pixel table."""
    with fits.open(path) as hdus:
        return {h.name.lower(): np.array(h.data).ravel() for h in hdus[1:] if h.name.lower() in COLUMNS}


def without(frames, *tags):
    """The frames without some tags."""
    return [frame for frame in frames if frame[1] not in tags]


def replaced(frames, tag, path):
    """The frames with those of a tag replaced by one file."""
    return [*without(frames, tag), (path, tag)]


def edited(source: Path, target: Path, change) -> Path:
    """A copy of a FITS file after ``change(hdus)``."""
    with fits.open(source, memmap=False) as hdus:
        hdus = fits.HDUList([hdu.copy() for hdu in hdus])
        change(hdus)
        hdus.writeto(target, overwrite=True)
    return target


def path_of(frames, tag) -> Path:
    """First file of a tag."""
    return next(path for path, name in frames if name == tag)
