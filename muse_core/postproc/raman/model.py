# SPDX-License-Identifier: BSD-3-Clause
"""Raman scattering of the laser light: O2 and N2 lines in adaptive-optics exposures.

The light in a band is modelled as data = f * P(x, y) * M(lambda) + c with a polynomial P of second order over
the field, the line shape M from the line list and the line-spread function, and a constant background c.
P is common to both bands.  Everything that the fit must know of the rows are sums of products; `RamanSums`
adds them up block by block, in any order and without rounding differences, and `fit_raman` gives the
least-squares solution.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.framework.log import UNDONE
from muse_core.postproc.exposure.correction import Card, Skipped
from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.lsf.profile_kernels import place_lines
from muse_core.postproc.lsf.tables import LsfTable
from muse_core.postproc.raman.band_kernels import (
    N_TERM,
    POSITION_SCALE,
    image_shape_rows,
    polynomial_rows,
    sum_rows,
    table_shape_rows,
)

if TYPE_CHECKING:
    from muse_core.data.block import Block

Floats = npt.NDArray[np.float64]

NAMES = ("O2", "N2")
"""Bands; their index is the group of their lines in RAMAN_LINES."""
CENTRES = (6484.0, 6827.0)
MIN_WIDTH = 2.61
"""Bands narrower than this [Angstrom] cannot be analysed."""

_log = logging.getLogger(__name__)
MOST_STEPS = 100  # of the fit of one polynomial to both bands


@dataclass(frozen=True)
class RamanBand:
    """Wavelength band that is used in the fit; both limits are inside."""

    group: int
    low: float
    high: float

    @property
    def name(self) -> str:
        """Name of the molecule."""
        return NAMES[self.group]


def raman_bands(
    limits: tuple[float, float], width: float, log: logging.Logger = _log
) -> tuple[RamanBand, ...] | Skipped:
    """Find the bands that can be analysed.

    Parameters
    ----------
    limits : (float, float)
        Wavelength range of the exposure [Angstrom].
    width : float
        Full width of the bands (``raman_width``) [Angstrom].
    log : logging.Logger
        Takes the messages.
    """
    if not width >= MIN_WIDTH:
        return Skipped(
            "raman", f"raman_width is {width:.2f} Angstrom, less than {MIN_WIDTH:.2f} Angstrom", wanted=True
        )
    bands = []
    for group, centre in enumerate(CENTRES):
        low, high = centre - width / 2, centre + width / 2
        if high < limits[0] or low > limits[1]:
            log.warning(
                "Raman correction for %s feature not possible, %.3f..%.3f Angstrom is outside the "
                "wavelength range!",
                NAMES[group],
                low,
                high,
            )
            continue
        bands.append(RamanBand(group, low, high))
    if not bands:
        return Skipped("raman", "neither O2 nor N2 features lie in the wavelength range", wanted=True)
    return tuple(bands)


@dataclass(frozen=True)
class RamanShapes:
    """Line shapes of both groups in every slice, prepared for the kernels."""

    lam: Floats
    """float64[n] wavelengths of the lines [Angstrom]."""
    flux: Floats
    """float64[n] fluxes."""
    group: npt.NDArray[np.int64]
    """int64[n] 0 = O2, 1 = N2."""
    lsf: LsfImage | LsfTable
    first_row: npt.NDArray[np.int32]
    weight: Floats
    scale: Floats
    shift: Floats
    parameters: Floats

    def total_flux(self, group: int) -> float:
        """Sum of the line fluxes of a group."""
        return float(self.flux[self.group == group].sum())

    def evaluate(self, lam: npt.NDArray[np.float32], origin: npt.NDArray[np.int32]) -> Floats:
        """Values M of both groups for the rows of a block, float64[2, n]."""
        out = np.zeros((2, lam.size))
        lines = self.lam, self.flux, self.group
        if isinstance(self.lsf, LsfImage):
            x_first, x_step, _, _ = self.lsf.grid()
            placed = self.first_row, self.weight, self.scale, self.shift
            image_shape_rows(
                lam, origin, *lines, self.lsf.row, self.lsf.samples, x_first, x_step, self.reach, *placed, out
            )
        else:
            table_shape_rows(lam, origin, *lines, self.lsf.row, self.reach, self.parameters, out)
        return out

    @property
    def reach(self) -> float:
        """Largest distance from a line at which its profile can differ from zero [Angstrom]."""
        low, high = self.lsf.reach
        margin = 0.0
        if isinstance(self.lsf, LsfImage):
            margin = self.lsf.x_step + float(np.abs(self.shift).max(initial=0.0))
        return max(abs(low), abs(high)) + margin


def raman_shapes(
    lam: npt.ArrayLike,
    flux: npt.ArrayLike,
    group: npt.ArrayLike,
    dq: npt.ArrayLike,
    lsf: LsfImage | LsfTable,
) -> RamanShapes:
    """Prepare the line shapes from the columns of RAMAN_LINES (without flagged rows and other groups)."""
    groups = np.asarray(group, dtype=np.int64)
    keep = ((groups == 0) | (groups == 1)) & (np.asarray(dq) == 0)
    wavelengths = np.asarray(lam, dtype=np.float64)[keep]
    order = np.argsort(wavelengths, kind="stable")
    wavelengths = np.ascontiguousarray(wavelengths[order])
    n = wavelengths.size
    first_row, weight = np.zeros(n, np.int32), np.zeros(n)
    scale, shift = np.zeros((1, n)), np.zeros((1, n))
    parameters = np.zeros((1, n, 7))
    if isinstance(lsf, LsfImage):
        scale, shift = np.zeros((2, lsf.total.shape[0], n))
        place_lines(lsf.total, lsf.moment, *lsf.grid(), wavelengths, first_row, weight, scale, shift)
    else:
        parameters = lsf.parameters(wavelengths)
    fluxes = np.ascontiguousarray(np.asarray(flux, dtype=np.float64)[keep][order])
    return RamanShapes(
        wavelengths, fluxes, groups[keep][order], lsf, first_row, weight, scale, shift, parameters
    )


class RamanSums:
    """Sums of products of the rows on sky, for each band; needs a few kilobytes.

    The line shapes are divided by the total flux of the group, the positions by `POSITION_SCALE`.
    """

    def __init__(self, bands: tuple[RamanBand, ...], shapes: RamanShapes) -> None:
        self.bands = bands
        self.shapes = shapes
        self._coarse = np.zeros((len(NAMES), N_TERM + 1, N_TERM + 1))
        self._fine = np.zeros_like(self._coarse)
        self._rows = np.zeros(len(NAMES), np.int64)

    def add(
        self,
        band: RamanBand,
        xpos: npt.NDArray[np.float32],
        ypos: npt.NDArray[np.float32],
        lam: npt.NDArray[np.float32],
        data: npt.NDArray[np.float32],
        origin: npt.NDArray[np.int32],
        selected: npt.NDArray[np.bool_],
    ) -> None:
        """Add a block of rows; rows outside of the band are ignored.

        Parameters
        ----------
        band : RamanBand
            One of `bands`; a block that touches both bands is added twice, with the selection of each.
        xpos, ypos, lam, data : float32[n]
            Columns; positions in pixels.
        origin : int32[n]
            Packed origin.
        selected : bool[n]
            Rows on the sky pixels of this band with dq = 0 (cosmic rays left out).
        """
        use = np.asarray(selected, dtype=bool) & (lam >= band.low) & (lam <= band.high)
        if not use.any():
            return
        g = band.group
        lam, origin = lam[use], origin[use]
        total = self.shapes.total_flux(g)
        shape = self.shapes.evaluate(lam, origin)[g] / (total if total != 0.0 else 1.0)
        self._rows[g] += sum_rows(xpos[use], ypos[use], data[use], shape, self._coarse[g], self._fine[g])

    def merge(self, other: RamanSums) -> None:
        """Add the sums of another object for the same bands and shapes."""
        self._coarse += other._coarse
        self._fine += other._fine
        self._rows += other._rows

    def rows(self, group: int) -> int:
        """Number of rows that were used in a band."""
        return int(self._rows[group])

    def normal_equations(self, group: int) -> tuple[Floats, Floats]:
        """Matrix [7, 7] and right side [7] of a band for (xx, xy, yy, x, y, 1) * f and c."""
        total = self._coarse[group] + self._fine[group]
        return total[:N_TERM, :N_TERM], total[:N_TERM, N_TERM]


@dataclass(frozen=True)
class RamanModel:
    """Raman light of an exposure."""

    name: ClassVar[str] = "raman"
    moves: ClassVar[bool] = False
    stretch: ClassVar[float] = 1.0

    spatial: tuple[float, float, float, float, float]
    """Coefficients of x^2, xy, y^2, x, y; the constant is 1."""
    strength: tuple[float, float]
    """Factors f of the two groups; 0 for a band that was not used."""
    background: tuple[float, float]
    shapes: RamanShapes
    converged: bool = True
    """The fit ended at a minimum, and all its terms are determined."""

    def apply(self, block: Block) -> None:
        """Subtract the Raman light from the rows of a block."""
        lines = self.shapes.lam
        if lines.size == 0:
            return
        near = (block.lam >= lines[0] - self.shapes.reach) & (block.lam <= lines[-1] + self.shapes.reach)
        if not near.any():
            return
        rows = np.flatnonzero(near)
        shape = self.shapes.evaluate(block.lam[rows], block.origin[rows])
        strength = np.array(self.strength) @ shape
        polynomial_rows(block.xpos, block.ypos, block.data, rows, strength, np.array(self.spatial))

    def cards(self) -> list[Card]:
        """Nothing that the C recipe would write into a table."""
        return []

    def flux(self, group: int) -> float:
        """Total flux of a group as in the quality parameters."""
        return float(np.float32(self.strength[group] * self.shapes.total_flux(group) * 1e-20))

    def qc(self) -> list[Card]:
        """Quality parameters of the product RAMAN_IMAGES."""
        prefix = "ESO QC SCIPOST RAMAN"
        comments = (
            "2D Polynomial x^2",
            "2D Polynomial xy",
            "2D Polynomial y^2",
            "2D Polynomial x",
            "2D Polynomial y",
        )
        names = ("XX", "XY", "YY", "X", "Y")
        entries: list[Card] = [
            (f"{prefix} SPATIAL {name}", value, comment)
            for name, value, comment in zip(names, self.spatial, comments, strict=True)
        ]
        entries += [
            (f"{prefix} FLUX {name}", self.flux(g), "[erg/(s cm2 arcsec2)]") for g, name in enumerate(NAMES)
        ]
        return entries

    def field_image(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Values of P on a grid of pixel coordinates, float32[ny, nx] (extension DATA of the product)."""
        gx, gy = np.meshgrid(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        xx, xy, yy, cx, cy = self.spatial
        return (xx * gx * gx + xy * gx * gy + yy * gy * gy + cx * gx + cy * gy + 1.0).astype(np.float32)


def fit_raman(sums: RamanSums, log: logging.Logger = _log) -> RamanModel | Skipped:
    """Solve for the polynomial over the field and the strengths of the bands (unweighted least squares)."""
    used = [
        band.group
        for band in sums.bands
        if sums.rows(band.group) > 0 and sums.shapes.total_flux(band.group) != 0.0
    ]
    solutions = {}
    determined = True
    for g in used:
        matrix, right = sums.normal_equations(g)
        solution, root = _solve_band(matrix, right)
        if root.shape[0] < N_TERM:
            determined = False
            log.warning(
                "Raman line fit of the %s band is not well determined (rank %d)",
                NAMES[g], root.shape[0], extra=UNDONE,
            )  # fmt: skip
        if solution[5] != 0.0:
            solutions[g] = solution, root
    if not solutions:
        return Skipped("raman", "the fit failed: no usable rows in the bands", wanted=True)
    spatial, strength, background, ended = _join_bands(solutions, log)

    def of_band(g: int) -> float:
        return strength[g] / sums.shapes.total_flux(g) if g in solutions else 0.0

    scale = POSITION_SCALE
    xx, xy, yy, x, y = spatial / np.array([scale * scale, scale * scale, scale * scale, scale, scale])
    model = RamanModel(
        (xx, xy, yy, x, y),
        (of_band(0), of_band(1)),
        (float(background[0]), float(background[1])),
        sums.shapes,
        converged=determined and ended and bool(np.isfinite(spatial).all()),
    )
    log.info("Raman light over the field: %.6g x^2 %+.6g xy %+.6g y^2 %+.6g x %+.6g y +1", *model.spatial)
    log.info("Raman flux: O2 %.6g, N2 %.6g erg/(s cm^2 arcsec^2)", model.flux(0), model.flux(1))
    return model


def _solve_band(matrix: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Least-squares solution v and a root R of the matrix: chi^2(u) = chi^2(v) + |R (u - v)|^2."""
    norm = np.sqrt(np.diag(matrix))
    norm[norm == 0.0] = 1.0
    values, vectors = np.linalg.eigh(matrix / np.outer(norm, norm))
    good = values > 1e-13 * values.max()
    vectors, values = vectors[:, good], values[good]
    solution = vectors @ ((vectors.T @ (right / norm)) / values) / norm
    return solution, (np.sqrt(values)[:, np.newaxis] * vectors.T) * norm


def _join_bands(
    solutions: dict[int, tuple[Floats, Floats]], log: logging.Logger
) -> tuple[Floats, Floats, Floats, bool]:
    """Find one polynomial for all bands, by Gauss-Newton iterations with halved steps; did they end?"""
    strength, background = np.zeros(len(NAMES)), np.zeros(len(NAMES))
    groups = sorted(solutions)
    for g in groups:
        strength[g], background[g] = solutions[g][0][5:7]
    weight = np.array([np.linalg.norm(solutions[g][1][:, :6] @ solutions[g][0][:6]) ** 2 for g in groups])
    start = [solutions[g][0][:5] / strength[g] for g in groups]
    if len(groups) == 1:
        return start[0], strength, background, True
    spatial = np.average(start, axis=0, weights=weight)

    def residuals(p: Floats) -> Floats:
        return np.concatenate(
            [
                solutions[g][1] @ (np.concatenate([p[5 + k] * p[:5], p[[5 + k, 7 + k]]]) - solutions[g][0])
                for k, g in enumerate(groups)
            ]
        )

    def jacobian(p: Floats) -> Floats:
        blocks = []
        for k, g in enumerate(groups):
            inner = np.zeros((N_TERM, 9))
            inner[:5, :5] = p[5 + k] * np.eye(5)
            inner[:5, 5 + k] = p[:5]
            inner[5, 5 + k] = 1.0
            inner[6, 7 + k] = 1.0
            blocks.append(solutions[g][1] @ inner)
        return np.concatenate(blocks)

    p = np.concatenate([spatial, strength[groups], background[groups]])
    chi2 = float(residuals(p) @ residuals(p))
    ended = True
    for _ in range(MOST_STEPS):
        step = np.linalg.lstsq(jacobian(p), -residuals(p), rcond=1e-14)[0]
        factor = 1.0
        while factor > 1e-10:
            trial = p + factor * step
            trial_chi2 = float(residuals(trial) @ residuals(trial))
            if trial_chi2 <= chi2:
                break
            factor /= 2
        else:
            break
        small = np.abs(factor * step) <= 1e-13 * (np.abs(p) + np.abs(p).max() * 1e-3)
        p, chi2 = trial, trial_chi2
        if small.all():
            break
    else:
        ended = False
        log.warning("Raman line fit failed: no convergence, using the values so far", extra=UNDONE)
    strength[groups], background[groups] = p[5:7], p[7:9]
    return p[:5], strength, background, ended
