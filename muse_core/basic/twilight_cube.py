# SPDX-License-Identifier: BSD-3-Clause
"""Correction of pixel-table rows by a TWILIGHT_CUBE."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muse_core.data.input_rules import rules_of
from muse_core.data.rules import PIXELS, check
from muse_core.detector.fitsfile import opened
from muse_core.framework.errors import InputError
from muse_core.framework.kernels import njit

if TYPE_CHECKING:
    from muse_core.framework import RunContext

Floats = npt.NDArray[np.float32]
AXES = (1, 2, 3)


@dataclass(frozen=True)
class TwilightCube:
    """A smooth illumination correction.

    Attributes
    ----------
    path : Path
    data : float32[nz, ny, nx]
    origin, step : tuple of float
        Position of the first voxel and the steps, in x, y (pixels of the field) and wavelength.
    fluxes : dict of int to float
        Integrated flux of the sky flat by IFU.
    """

    path: Path
    data: Floats
    origin: tuple[float, float, float]
    step: tuple[float, float, float]
    fluxes: dict[int, float]

    def reach(self) -> dict[str, list[float]]:
        """Return the place of the first and of the last voxel, which rules are asked of."""
        sizes = self.data.shape[::-1]
        last = [a + (n - 1) * d for a, n, d in zip(self.origin, sizes, self.step, strict=True)]
        return {"FIRST": list(self.origin), "LAST": last}


def check_twilight_cube(cube: TwilightCube, ctx: RunContext) -> None:
    """Warn of a cube whose values, or whose place, make no sense."""
    rules = rules_of(ctx.spec.name, "TWILIGHT_CUBE")
    check(cube.path, rules, {"DATA": cube.data}, ctx, about=PIXELS)
    check(cube.path, rules, cube.reach(), ctx)


def read_twilight_cube(path: Path) -> TwilightCube:
    """Read a TWILIGHT_CUBE.

    Raises
    ------
    InputError
        If it is none, or its world coordinates make no sense.
    """
    with opened(path, memmap=False) as hdus:
        cubes = [hdu for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim == 3]
        named = [hdu for hdu in cubes if hdu.name == "DATA"] or cubes
        if not named:
            raise InputError(path, "extension DATA", expected="a cube", found="none in this file")
        header, primary = named[0].header, hdus[0].header
        values = {}
        for axis in AXES:
            for key in (f"CRVAL{axis}", f"CRPIX{axis}", f"CD{axis}_{axis}"):
                value = header.get(key)
                if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                    raise InputError(path, f"DATA {key}", expected="a number", found=repr(value))
                values[key] = float(value)
            if not values[f"CD{axis}_{axis}"] > 0:
                raise InputError(
                    path,
                    f"DATA CD{axis}_{axis}",
                    expected="a positive step",
                    found=values[f"CD{axis}_{axis}"],
                )
        data = named[0].data.astype(np.float32)
        fluxes = {
            ifu: float(primary[key])
            for ifu in range(1, 25)
            if isinstance(primary.get(key := f"ESO DRS MUSE FLAT FLUX SKY{ifu}"), int | float)
        }
    if not (np.isfinite(data).all() and (data > 0).all()):
        raise InputError(path, "DATA", expected="positive values", found="zero, negative or not finite ones")
    step = (values["CD1_1"], values["CD2_2"], values["CD3_3"])
    first = [values[f"CRVAL{a}"] + (1 - values[f"CRPIX{a}"]) * values[f"CD{a}_{a}"] for a in AXES]
    return TwilightCube(path, data, (first[0], first[1], first[2]), step, fluxes)


@njit(cache=True, nogil=True, inline="always")
def _index_within(place: float, size: int) -> int:
    """Return a place as an index of an axis; what is no number is the first one."""
    if not place > 0.0:
        return 0
    return int(min(place, size - 1.0))


@njit(cache=True, nogil=True)
def divide_rows(
    xpos: Any, ypos: Any, lam: Any, data: Any, stat: Any, cube: Any, origin: Any, step: Any
) -> None:
    """Divide data (and variances by the square), in place.

    Measured against 2.8.7: nearest spaxel, linear between the planes around the wavelength, constant before
    the first and after the last plane. Rows beside the cube take its nearest spaxel.

    Parameters
    ----------
    xpos, ypos, lam : float32[n]
    data, stat : float32[n]
        Changed.
    cube : float32[nz, ny, nx]
    origin, step : float64[3]
        x, y, wavelength.
    """
    nz, ny, nx = cube.shape
    for i in range(lam.size):
        ix = _index_within(np.floor((xpos[i] - origin[0]) / step[0] + 0.5), nx)
        iy = _index_within(np.floor((ypos[i] - origin[1]) / step[1] + 0.5), ny)
        place = min(max((lam[i] - origin[2]) / step[2], 0.0), nz - 1.0)
        k = _index_within(place, max(nz - 1, 1))
        t = place - k
        value = np.float64(cube[k, iy, ix])
        if t > 0:
            value = (1.0 - t) * value + t * np.float64(cube[k + 1, iy, ix])
        data[i] = np.float32(data[i] / value)
        stat[i] = np.float32(stat[i] / (value * value))


def divide_by_cube(
    xpos: Floats, ypos: Floats, lam: Floats, data: Floats, stat: Floats, cube: TwilightCube
) -> None:
    """Divide rows by a cube, in place (see `divide_rows`)."""
    divide_rows(xpos, ypos, lam, data, stat, cube.data, np.array(cube.origin), np.array(cube.step))
