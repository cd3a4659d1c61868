# SPDX-License-Identifier: BSD-3-Clause
"""Cubes as a user may give them, of which planes are read one by one."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy import units

from imphot.errors import UserError
from imphot.images.opening import check_coordinates, is_companion, open_file

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header
    from astropy.wcs import WCS

WAVELENGTHS = ("", "AWAV", "WAVE", "LAMBDA", "WAVELENGTH", "LINEAR", "AWAV-LOG", "WAVE-LOG")
"""Kinds of the third axis that can be collapsed."""

__all__ = ["CubeLike", "CubeSource", "open_cube"]

CubeLike: TypeAlias = Any  # mpdaf Cube, file name or HDUList
Planes: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any] | None, npt.NDArray[np.bool_]]


@dataclass
class CubeSource:
    """A cube of which planes can be read one by one.

    ``planes(start, stop)`` gives data, variances or None, and mask; `first` and `step` are wavelengths
    [Angstrom]; `reference` is where the step holds, of planes that are equally spaced in the logarithm of the
    wavelength (AWAV-LOG), else None; `cube` is the mpdaf cube, where it is one.
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
    reference: float | None = None

    def wavelengths(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Centres and widths of all planes [Angstrom]."""
        number = np.arange(self.shape[0], dtype=float)
        if self.reference is None:
            return self.first + self.step * number, np.full(number.size, self.step)
        centres = self.first * np.exp(self.step * number / self.reference)
        return centres, self.step * centres / self.reference


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
        else next((h for h in hdus if h.is_image and len(h.shape) == 3 and not is_companion(h.name)), None)
    )
    if data is None or len(getattr(data, "shape", ())) != 3:
        raise UserError(f"The file {filename} holds no cube")
    stat, dq = (hdus[name] if name in names else None for name in ("STAT", "DQ"))
    for name, other in (("STAT", stat), ("DQ", dq)):
        if other is not None and other.shape != data.shape:
            raise UserError(f"{name} of the cube {filename} has the size {other.shape}, DATA {data.shape}")
    header = data.header
    first, step, reference = _wavelength_axis(header, filename)
    file = threading.Lock()  # threads share the file, and the place in it

    def planes(start: int, stop: int) -> Planes:
        with file:
            values = np.asarray(data.section[start:stop])
            var = None if stat is None else np.asarray(stat.section[start:stop])
            mask = np.zeros(values.shape, bool) if dq is None else np.asarray(dq.section[start:stop]) != 0
        return values, var, mask

    check_coordinates(header, f"cube {filename}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header).celestial
    return CubeSource(
        planes,
        data.shape,
        first,
        step,
        wcs,
        header.get("BUNIT", ""),
        filename,
        hdus[0].header.copy(),
        header.copy(),
        reference=reference,
    )


def _wavelength_axis(header: Header, filename: str | None) -> tuple[float, float, float | None]:
    """Wavelength of the first plane, step and, on a logarithmic axis, where that step holds [Angstrom]."""
    kind = str(header.get("CTYPE3", "")).strip().upper()
    if kind not in WAVELENGTHS:
        raise UserError(f"The third axis of the cube {filename} is {kind}, not wavelengths (AWAV)")
    values = [header.get("CRVAL3"), header.get("CD3_3", header.get("CDELT3")), header.get("CRPIX3", 1.0)]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in values):
        raise UserError(f"The cube {filename} has no wavelengths (CRVAL3, CD3_3)")
    try:
        factor = float(units.Unit(header.get("CUNIT3", "Angstrom") or "Angstrom").to(units.Angstrom))
    except (ValueError, TypeError, units.UnitsError) as err:
        raise UserError(f"CUNIT3 of the cube {filename} is no unit of wavelengths ({err})") from err
    value, step, pixel = values[0] * factor, values[1] * factor, float(values[2])
    if not (value > 0 and step > 0):
        raise UserError(f"The wavelengths of the cube {filename} do not increase from a positive value")
    if kind.endswith("-LOG"):
        return float(value * np.exp(step * (1.0 - pixel) / value)), step, value
    return value + (1.0 - pixel) * step, step, None
