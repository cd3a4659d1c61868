# SPDX-License-Identifier: BSD-3-Clause
"""Cubes as a user may give them, of which planes are read one by one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy import units

from imphot.errors import UserError
from imphot.images.opening import open_file

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header
    from astropy.wcs import WCS

__all__ = ["CubeLike", "CubeSource", "open_cube"]

CubeLike: TypeAlias = Any  # mpdaf Cube, file name or HDUList
Planes: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any] | None, npt.NDArray[np.bool_]]


@dataclass
class CubeSource:
    """A cube of which planes can be read one by one.

    ``planes(start, stop)`` gives data, variances or None, and mask; `first` and `step` are wavelengths
    [Angstrom]; `cube` is the mpdaf cube, where it is one.
    """

    planes: Callable[[int, int], Planes]
    shape: tuple[int, ...]
    first: float
    step: float
    wcs: WCS
    unit: Any
    filename: str | None
    primary_header: Header
    data_header: Header
    cube: Any = None


@contextmanager
def open_cube(cube: CubeLike) -> Iterator[CubeSource]:
    """Give a `CubeSource` for whatever was given; a file is closed at the end."""
    if isinstance(cube, (str, os.PathLike)):
        with open_file(cube, "cube") as hdus:
            yield _from_hdus(hdus, os.fspath(cube))
    elif hasattr(cube, "wave") and hasattr(cube, "wcs"):
        yield _from_mpdaf(cube)
    elif hasattr(cube, "index_of"):
        yield _from_hdus(cube, cube.filename())
    else:
        raise UserError(
            f"The cube is of an unknown kind ({type(cube).__name__}): give a file name, an mpdaf cube "
            "or an HDU list"
        )


def _from_mpdaf(cube: Any) -> CubeSource:
    step = cube.wave.get_step(unit=units.Angstrom)
    first = cube.wave.coord(0, unit=units.Angstrom)
    data = np.ma.MaskedArray(cube.data)
    mask = np.ma.getmaskarray(data)
    values, var = np.ma.getdata(data), cube.var
    if var is not None:
        var = np.ma.getdata(np.ma.MaskedArray(var))

    def planes(start: int, stop: int) -> Planes:
        return values[start:stop], None if var is None else var[start:stop], mask[start:stop]

    return CubeSource(
        planes,
        values.shape,
        float(first),
        float(step),
        cube.wcs.wcs,
        cube.unit,
        cube.filename,
        cube.primary_header,
        cube.data_header,
        cube,
    )


def _from_hdus(hdus: HDUList, filename: str | None) -> CubeSource:
    from astropy.wcs import WCS

    names = [hdu.name.upper() for hdu in hdus]
    data = (
        hdus["DATA"]
        if "DATA" in names
        else next((h for h in hdus if h.is_image and h.header.get("NAXIS") == 3), None)
    )
    if data is None or len(data.shape) != 3:
        raise UserError(f"The file {filename} holds no cube")
    stat = hdus["STAT"] if "STAT" in names else None
    dq = hdus["DQ"] if "DQ" in names else None
    header = data.header
    step = header.get("CD3_3", header.get("CDELT3"))
    if step is None or "CRVAL3" not in header:
        raise UserError(f"The cube {filename} has no wavelengths (CRVAL3, CD3_3)")
    factor = float(units.Unit(header.get("CUNIT3", "Angstrom") or "Angstrom").to(units.Angstrom))
    first = (header["CRVAL3"] + (1.0 - header.get("CRPIX3", 1.0)) * step) * factor

    def planes(start: int, stop: int) -> Planes:
        values = np.asarray(data.section[start:stop])
        var = None if stat is None else np.asarray(stat.section[start:stop])
        mask = np.zeros(values.shape, bool) if dq is None else np.asarray(dq.section[start:stop]) != 0
        return values, var, mask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header).celestial
    return CubeSource(
        planes,
        data.shape,
        first,
        step * factor,
        wcs,
        header.get("BUNIT", ""),
        filename,
        hdus[0].header.copy(),
        header.copy(),
    )
