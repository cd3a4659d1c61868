# SPDX-License-Identifier: BSD-3-Clause
"""The grid of an output cube: where its voxels lie on the sky (or in the pixel plane) and in wavelength."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from muse_core.data.tangent_plane import deproject, project_by_native_angles

NOMINAL_STEP_A = 1.25
ARCSEC = 1.0 / 3600.0
WFM_STEP = (0.2, 0.2)
NFM_STEP = (0.02519, 0.02542)


@dataclass(frozen=True)
class OutputGrid:
    """World coordinates of a cube, FITS conventions (pixel 1 is the first).

    Parameters
    ----------
    nx, ny, nz : int
    crpix, crval : 3 floats
        degrees (or pixels for a grid in the pixel plane) and Angstrom
    matrix : 2x2 tuple
        spatial CD matrix
    dlambda : float
        CD3_3
    ctype, cunit : 3 strings
    scale : 2 floats
        nominal spaxel size (sx, sy) in the units of the axes, in which offsets are measured for weights
    """

    nx: int
    ny: int
    nz: int
    crpix: tuple[float, float, float]
    crval: tuple[float, float, float]
    matrix: tuple[tuple[float, float], tuple[float, float]]
    dlambda: float
    ctype: tuple[str, str, str]
    cunit: tuple[str, str, str]
    scale: tuple[float, float]

    @property
    def cd(self) -> npt.NDArray[np.float64]:
        """The full 3x3 CD matrix."""
        (c11, c12), (c21, c22) = self.matrix
        return np.array([[c11, c12, 0.0], [c21, c22, 0.0], [0.0, 0.0, self.dlambda]])

    def steps(self, *, as_c: bool = False) -> tuple[float, float]:
        """Return the sizes of a spaxel along the two world axes.

        Parameters
        ----------
        as_c : bool
            the diagonal of the matrix alone, whatever the rotation
        """
        (c11, c12), (c21, c22) = self.matrix
        return (abs(c11), abs(c22)) if as_c else (math.hypot(c11, c12), math.hypot(c21, c22))

    @property
    def celestial(self) -> bool:
        """True on the sky, False in the pixel plane."""
        return self.ctype[0].startswith("RA")

    @property
    def log_wavelength(self) -> bool:
        """True if planes are spaced in the logarithm of the wavelength (AWAV-LOG)."""
        return self.ctype[2].rstrip().endswith("LOG")

    def wavelength(self, plane: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Wavelength of the centre of plane 0, 1, ... in Angstrom."""
        offset = np.asarray(plane, np.float64) + 1.0 - self.crpix[2]
        if self.log_wavelength:
            return self.crval[2] * np.exp(self.dlambda * offset / self.crval[2])
        return self.crval[2] + self.dlambda * offset

    def plane_width(self, plane: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Width of planes in Angstrom."""
        if self.log_wavelength:
            return self.dlambda * self.wavelength(plane) / self.crval[2]
        return np.full(np.shape(plane), self.dlambda)

    def edge(self, plane: float) -> float:
        """Wavelength of the lower edge of a plane (used to find the rows of a slab)."""
        return float(self.wavelength(plane - 0.5))

    def voxel_centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """World coordinates 1 and 2 of all spaxel centres, each [ny, nx] (RA continuous around CRVAL1)."""
        px = np.arange(1, self.nx + 1) - self.crpix[0]
        py = np.arange(1, self.ny + 1) - self.crpix[1]
        x, y = np.meshgrid(px, py)
        (c11, c12), (c21, c22) = self.matrix
        xi, eta = c11 * x + c12 * y, c21 * x + c22 * y
        if not self.celestial:
            return self.crval[0] + xi, self.crval[1] + eta
        return deproject(xi, eta, self.crval[0], self.crval[1])


def _lround(value: float) -> int:
    return int(math.floor(abs(value) + 0.5)) * (1 if value >= 0 else -1)


def _planes(low: float, high: float, step: float) -> int:
    """Number of planes: the wavelength range is rounded up (measured with 2.8.7), x and y to the nearest."""
    return math.ceil((high - low) / step) + 1


def celestial_grid(
    limits: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
    pole: tuple[float, float],
    steps: tuple[float, float, float],
    scale: tuple[float, float],
) -> OutputGrid:
    """Return the north-up grid that the data need.

    Parameters
    ----------
    limits : (low, high) of RA, Dec (full coordinates, degrees) and wavelength
        only the two corners (low, low) and (high, high) are projected, as the C recipe does
    pole : (RA, Dec) of the tangent point in degrees
    steps : (dx, dy, dlambda) in arcsec, arcsec, Angstrom
    scale : effective spaxel size of the astrometric solution in degrees
    """
    dx, dy, dlambda = steps[0] * ARCSEC, steps[1] * ARCSEC, steps[2]
    # the C recipe fixes its grid with these rounding errors: CRPIX differs by 1e-7 to 1e-4 pixel from the
    # exact one, ours by 1e-13 from that of C, which shows in small drizzle overlaps (measured against 2.8.7)
    corners = [project_by_native_angles(limits[0][i], limits[1][i], *pole) for i in (0, 1)]
    px = [xi / -dx for xi, _ in corners]
    py = [eta / dy for _, eta in corners]
    low, high = limits[2]
    return OutputGrid(
        nx=_lround(max(px) - min(px)) + 1,
        ny=_lround(max(py) - min(py)) + 1,
        nz=_planes(low, high, dlambda),
        crpix=(1.0 - min(px), 1.0 - min(py), 1.0),
        crval=(pole[0], pole[1], low),
        matrix=((-dx, 0.0), (0.0, dy)),
        dlambda=dlambda,
        ctype=("RA---TAN", "DEC--TAN", "AWAV"),
        cunit=("deg", "deg", "Angstrom"),
        scale=scale,
    )


def pixel_grid(
    limits: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
    steps: tuple[float, float, float] = (1.0, 1.0, NOMINAL_STEP_A),
) -> OutputGrid:
    """Return the grid in the pixel plane that starts at the smallest coordinates of the data."""
    (xlo, xhi), (ylo, yhi), (low, high) = limits
    dx, dy, dlambda = steps
    return OutputGrid(
        nx=_lround((xhi - xlo) / dx) + 1,
        ny=_lround((yhi - ylo) / dy) + 1,
        nz=_planes(low, high, dlambda),
        crpix=(1.0, 1.0, 1.0),
        crval=(xlo, ylo, low),
        matrix=((dx, 0.0), (0.0, dy)),
        dlambda=dlambda,
        ctype=("PIXEL", "PIXEL", "AWAV"),
        cunit=("pixel", "pixel", "Angstrom"),
        scale=(1.0, 1.0),
    )


def distance_from_data(
    grid: OutputGrid, limits: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
) -> str:
    """Return where a grid lies if none of the data can be on it, in words; "" if some may be.

    Parameters
    ----------
    limits : (low, high) of x, y (RA and Dec in degrees, or pixels) and wavelength of the data
    """
    low, high = limits[2]
    first, last = grid.edge(0), grid.edge(grid.nz)
    if last < low or first > high:
        return (
            f"its planes cover {first:.1f} .. {last:.1f} Angstrom, the data {low:.1f} .. {high:.1f} Angstrom"
        )
    # the outline of the data in pixels of the grid
    edge, zero = np.linspace(0.0, 1.0, 9), np.zeros(9)
    x = limits[0][0] + (limits[0][1] - limits[0][0]) * np.concatenate([edge, edge, zero, zero + 1.0])
    y = limits[1][0] + (limits[1][1] - limits[1][0]) * np.concatenate([zero, zero + 1.0, edge, edge])
    if grid.celestial:
        east = ((x[0] - grid.crval[0] + 180.0) % 360.0 - 180.0) * math.cos(math.radians(grid.crval[1]))
        away = math.hypot(east, y[0] - grid.crval[1])
        if away > 60.0:
            return f"its reference point is {away:.0f} degrees from the data"
        offsets = np.array([project_by_native_angles(a, d, *grid.crval[:2]) for a, d in zip(x, y)])
    else:
        offsets = np.column_stack([x - grid.crval[0], y - grid.crval[1]])
    pixels = np.linalg.solve(np.array(grid.matrix), offsets.T) + np.array(grid.crpix[:2])[:, None]
    for name, values, size in zip("xy", pixels, (grid.nx, grid.ny)):
        first, last = float(values.min()), float(values.max())
        if last < 0.0 or first > size + 1.0:
            return f"the data lie at {name} = {first:.0f} .. {last:.0f} of its {size} pixels"
    return ""


def override_grid(grid: OutputGrid, header: Mapping[str, object]) -> OutputGrid:
    """Return `grid` with the items an OUTPUT_WCS header gives (sizes, CRVAL, CRPIX, CD, AWAV-LOG)."""

    def number(key: str, default: float) -> float:
        value = header.get(key)
        return float(value) if isinstance(value, int | float) else default

    def size(key: str, default: int) -> int:
        value = header.get(key)
        return int(value) if isinstance(value, int) and value > 0 else default

    nx, ny, nz = size("NAXIS1", grid.nx), size("NAXIS2", grid.ny), size("NAXIS3", grid.nz)

    def three(key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
        return number(f"{key}1", default[0]), number(f"{key}2", default[1]), number(f"{key}3", default[2])

    crval, crpix = three("CRVAL", grid.crval), three("CRPIX", grid.crpix)
    matrix, dlambda = grid.matrix, grid.dlambda
    coupled = any(number(key, 0.0) != 0.0 for key in ("CD1_3", "CD2_3", "CD3_1", "CD3_2"))
    if "CD1_1" in header and "CD2_2" in header and not coupled:
        new = (
            (number("CD1_1", 0.0), number("CD1_2", 0.0)),
            (number("CD2_1", 0.0), number("CD2_2", 0.0)),
        )
        if new[0][0] * new[1][1] - new[0][1] * new[1][0] != 0.0:
            matrix = new
    if "CD3_3" in header and not coupled and number("CD3_3", 0.0) != 0.0:
        dlambda = number("CD3_3", dlambda)
    third = str(header.get("CTYPE3", grid.ctype[2])).strip()
    ctype = (*grid.ctype[:2], third if third in ("AWAV", "AWAV-LOG") else grid.ctype[2])
    return replace(
        grid, nx=nx, ny=ny, nz=nz, crval=crval, crpix=crpix, matrix=matrix, dlambda=dlambda, ctype=ctype
    )
