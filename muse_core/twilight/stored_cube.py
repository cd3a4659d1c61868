# SPDX-License-Identifier: BSD-3-Clause
"""A DATACUBE_SKYFLAT of an earlier run, from which the model alone is made again (parameter ``skip``)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.detector.fitsfile import opened
from muse_core.framework.errors import InputError
from muse_core.resampling.grid import OutputGrid, pixel_grid

ITEM = "parameter skip"


@dataclass(frozen=True)
class StoredSkyCube:
    """A DATACUBE_SKYFLAT read back: primary header, grid, data (float32[nz, ny, nx]), white image."""

    header: fits.Header
    grid: OutputGrid
    data: npt.NDArray[np.float32]
    white: npt.NDArray[np.float32]


def read_sky_cube(path: Path | str, mode: str) -> StoredSkyCube:
    """Read a DATACUBE_SKYFLAT.

    Parameters
    ----------
    path : path-like
    mode : str
        ``ESO INS MODE`` of the sky flats beside it.

    Raises
    ------
    InputError
        If it is none, of another mode, or its world coordinates make no sense.
    """
    path = Path(path)
    if not os.path.isfile(path):  # noqa: PTH113  a name may be longer than any file's
        raise InputError(path, ITEM, expected="the name of a DATACUBE_SKYFLAT", found="no such file")
    with opened(path, memmap=False) as hdus:
        named = {h.name.lower(): h for h in hdus[1:]}
        missing = [n for n in ("data", "white") if n not in named]
        if missing:
            raise InputError(
                path,
                ITEM,
                expected="a DATACUBE_SKYFLAT with extensions DATA and white",
                found=f"no {', '.join(missing)}",
            )
        data, white, header = named["data"].data, named["white"].data, named["data"].header
        if data is None or data.ndim != 3 or white is None or white.shape != data.shape[1:]:
            raise InputError(path, ITEM, expected="a cube and a white image of its size", found="other sizes")
        own = str(hdus[0].header.get("ESO INS MODE", mode))
        if own != mode:
            raise InputError(path, "ESO INS MODE", expected=f"{mode} as in the sky flats", found=own)
        numbers = {key: header.get(key) for key in ("CRVAL1", "CRVAL2", "CRVAL3", "CD3_3")}
        for key, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise InputError(path, f"DATA {key}", expected="a number", found=repr(value))
        *start, step = (float(value) for value in numbers.values())
        if not step > 0:
            raise InputError(path, "DATA CD3_3", expected="a positive step", found=step)
        spans = [(s, s + d * (n - 1)) for s, d, n in zip(start, (1, 1, step), data.shape[::-1], strict=True)]
        grid = pixel_grid((spans[0], spans[1], spans[2]), (1.0, 1.0, step))
        return StoredSkyCube(hdus[0].header.copy(), grid, data.astype(np.float32), white.astype(np.float32))
