# SPDX-License-Identifier: BSD-3-Clause
"""Refinement of the sky per slice: throughputs, wavelengths and widths that the calibrations do not tell.

After the sky of an exposure is subtracted, the rows of each slice that lie on sky are compared with the mean
spectrum S of the sky and its derivatives::

    rest = (a + a' x) S + (b + b' x) dS/dl + c d2S/dl2 + d + d' x,      x = -1 .. 1 over the wavelengths

a is an error of the throughput, b a shift of the wavelengths, c half the excess of the squared width of the
line-spread function. The straight line keeps the light of objects out of the others and is not subtracted; so
spaxels with some light of objects can take part.
Terms are used in a slice only if those fitted to one half of its detector columns make the rest smaller in
the other half, both ways; else it gets what was fitted to all slices of its IFU together, if that makes its
rest smaller, or nothing. A slice with few columns on sky follows its IFU. In an IFU where few slices ask for
anything nothing is changed: calibrations err in all slices alike, objects lie on some. The throughputs keep
their mean over all rows: by how much the sky as a whole is too bright or too faint is not for the slices to
say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.per_thread import PerThread
from muse_core.data.slices import N_IFU, N_KEY, N_SLICE, rows_by_slice
from muse_core.postproc.exposure.reduction import REFINED
from muse_core.postproc.sky.refinement_kernels import N_TERM, subtract_terms, sum_products
from muse_core.postproc.white_light.sky_mask import GoodRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from muse_core.data.block import Block
    from muse_core.postproc.exposure.chain import Chain
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.sky.region import SkyRegion
    from muse_core.postproc.sky.spectrum import SkySpectrum

Vector = npt.NDArray[np.float64]

MIN_COLUMNS = 15
"""Detector columns on sky without which a slice is not fitted by itself."""
MIN_ROWS = 500
CLIP = 6.0
"""Rows that are off by more than this many standard deviations are cosmic rays or objects."""
THROUGHPUT = (0, 1)
"""Terms of the brightness of the sky."""
OBJECTS = [5, 6]
"""Terms that are always there and never subtracted: the light of objects."""
MODELS = [
    [*throughput, *shift, *width]
    for throughput in ((), (0,), (0, 1))
    for shift in ((), (2,), (2, 3))
    for width in ((), (4,))
]
"""Terms that may be used together, from the simplest model on."""
EVIDENCE = 14.0
"""By how much chi-square of columns that took no part in a fit must fall. Noise alone does that
in a few of a thousand slices, whose sky gets worse by less than its own noise."""
SHARE = 0.25
"""Share of the slices of an IFU with enough columns on sky that must ask for a change by themselves."""
USUAL = np.array([0.02, 0.01, 0.08, 0.04, 0.08])
"""Errors of slices as they are usual: throughput, its slope, shift [Angstrom], its slope, half the excess of
the squared width [Angstrom^2]. What rows do not tell is expected to be of that size, so that it is not fitted
to noise, nor to light of objects where the sky has no structure that would tell it from them."""
RIDGE = 1e-9  # of the normalised matrices, which are singular where a slice sees no structure of the sky


@dataclass(frozen=True)
class SkyTemplates:
    """The mean spectrum of the sky and its derivatives on a grid.

    Parameters
    ----------
    first, step : of the grid [Angstrom]
    sky, slope, bend : float64[n]
    """

    first: float
    step: float
    sky: Vector
    slope: Vector
    bend: Vector

    @classmethod
    def from_spectrum(cls, spectrum: SkySpectrum) -> SkyTemplates:
        """Build the templates; bins without rows are filled by interpolation."""
        n = max(round((spectrum.lam[-1] - spectrum.lam[0]) / spectrum.step) + 1, 3)
        lam = spectrum.lam[0] + spectrum.step * np.arange(n)
        sky = np.interp(lam, spectrum.lam, spectrum.data)
        slope = np.gradient(sky, spectrum.step)
        return cls(float(lam[0]), spectrum.step, sky, slope, np.gradient(slope, spectrum.step))

    def numbers(self) -> tuple[float, float, Vector, Vector, Vector, float, float]:
        """Return what the kernels take."""
        half = 0.5 * self.step * (self.sky.size - 1)
        return self.first, self.step, self.sky, self.slope, self.bend, self.first + half, half


@dataclass(frozen=True)
class SliceRefinement:
    """What is subtracted from the rows of each slice.

    Parameters
    ----------
    templates : SkyTemplates
    amount : float64[1152, 7]   of each term; 0 for those of the objects
    columns : int64[1152]   detector columns on sky
    from_ifu : bool[1152]   the amounts are those of the IFU
    present : bool[1152]   slices with rows, on sky or not
    """

    templates: SkyTemplates
    amount: Vector
    columns: npt.NDArray[np.int64]
    from_ifu: npt.NDArray[np.bool_]
    present: npt.NDArray[np.bool_]

    def apply(self, block: Block) -> None:
        """Correct the rows of a block."""
        subtract_terms(block.lam, block.data, block.origin, *self.templates.numbers(), self.amount)

    def throughput(self) -> Vector:
        """Return the relative throughput of each slice in the middle of the wavelengths, float64[1152]."""
        return 1.0 + self.amount[:, 0]

    def shift(self) -> Vector:
        """Return by how much the wavelengths of each slice are too small [Angstrom]."""
        return self.amount[:, 2]

    def width(self) -> Vector:
        """Return the excess of the squared width of the profile of each slice [Angstrom^2]."""
        return 2.0 * self.amount[:, 4]

    def cards(self) -> list[Card]:
        """Return the card of a table whose sky was refined."""
        return [(REFINED, self.n_changed, "Slices with a refined sky")]

    @property
    def n_changed(self) -> int:
        """Number of slices in which something is subtracted."""
        return int(((self.amount != 0.0).any(axis=1) & self.present).sum())

    def qc(self) -> list[Card]:
        """Return what the product SKY_REFINEMENT tells."""
        present = self.present
        prefix = "ESO QC SCIPOST REFINE"

        def rms(values: Vector) -> float:
            return float(np.sqrt(np.mean(values[present] ** 2))) if present.any() else 0.0

        return [
            (f"{prefix} NSLICES", self.n_changed, "Slices with a refined sky"),
            (f"{prefix} NIFU", int((self.from_ifu & present).sum()), "Slices that follow their IFU"),
            (f"{prefix} THROUGHPUT", 100.0 * rms(self.amount[:, 0]), "[%] rms error of the throughputs"),
            (f"{prefix} SHIFT", rms(self.shift()), "[Angstrom] rms error of the wavelengths"),
            (f"{prefix} WIDTH", rms(self.width()), "[Angstrom^2] rms error of squared LSF widths"),
        ]

    def pictures(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the errors of the slices as images of the instrument, float32[24, 48]; NaN without rows."""
        values = {"throughput": self.amount[:, 0], "shift": self.shift(), "width2": self.width()}
        return {
            name: np.where(self.present, value, np.nan).reshape(N_IFU, N_SLICE).astype(np.float32)
            for name, value in values.items()
        }

    def columns_of_table(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the columns of the product SKY_REFINEMENT, one row for each slice of the data."""
        keys = np.flatnonzero(self.present)
        names = ("throughput", "throughput_slope", "shift", "shift_slope", "width2")
        factors = (1.0, 1.0, 1.0, 1.0, 2.0)
        return {
            "ifu": (keys // N_SLICE + 1).astype(np.int32),
            "slice": (keys % N_SLICE + 1).astype(np.int32),
            "columns": self.columns[keys].astype(np.int32),
            "from_ifu": self.from_ifu[keys].astype(np.int32),
            **{name: factors[k] * self.amount[keys, k] for k, name in enumerate(names)},
        }


class _Sums:
    """Sums of one thread: see `sum_products`."""

    def __init__(self) -> None:
        self.coarse, self.fine = (np.zeros((2, N_KEY, N_TERM + 1, N_TERM + 1)) for _ in range(2))
        self.count = np.zeros(N_KEY, np.int64)
        self.columns = np.zeros((N_KEY, 128), np.bool_)

    def merge(self, other: _Sums) -> None:
        """Add what another thread has collected."""
        self.coarse += other.coarse
        self.fine += other.fine
        self.count += other.count
        self.columns |= other.columns


class RestSums:
    """Collects what is left of the rows of the sky; several threads may add to it."""

    def __init__(self) -> None:
        self._sums = PerThread(_Sums)

    def mine(self) -> _Sums:
        """Return the sums of the calling thread."""
        return self._sums.mine()

    def total(self) -> _Sums:
        """Return the sums of all threads."""
        return self._sums.joined(_Sums.merge)

    def merge(self, other: RestSums) -> None:
        """Add what another one has collected."""
        self.total().merge(other.total())


@dataclass(frozen=True)
class WithoutSky:
    """Adds what is left of rows when the sky is subtracted.

    Parameters
    ----------
    subtract : callable
        takes the sky out of the rows of a block
    templates : SkyTemplates
    """

    subtract: Callable[[Block], None]
    templates: SkyTemplates

    def add(self, total: RestSums, block: Block) -> None:
        """Add the good rows of a block."""
        self.subtract(block)
        sums = total.mine()
        good = (block.dq == 0) & np.isfinite(block.data)
        sum_products(
            block.lam, block.data, block.stat, block.origin, good, *self.templates.numbers(), CLIP,
            sums.coarse, sums.fine, sums.count, sums.columns,
        )  # fmt: skip


def fit_refinement(chain: Chain, region: SkyRegion, subtract: Callable[[Block], None]) -> SliceRefinement:
    """Fit the refinement to the rows on sky.

    Parameters
    ----------
    subtract : callable
        takes the sky out of the rows of a block
    """
    templates = SkyTemplates.from_spectrum(region.spectrum)
    on_sky = GoodRows(region.white, region.faint_mask())
    total = chain.total(RestSums, WithoutSky(subtract, templates).add, select=on_sky).total()
    every = rows_by_slice(chain.files.rows_of_slices())
    return fit_amounts(templates, total.coarse + total.fine, total.count, total.columns.sum(axis=1), every)


def fit_amounts(
    templates: SkyTemplates,
    products: Vector,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    every: npt.NDArray[np.int64],
) -> SliceRefinement:
    """Find the amounts of all slices.

    Parameters
    ----------
    products : float64[2, 1152, 8, 8]   of both halves of the columns, see `sum_products`
    rows, columns : int64[1152]   on sky
    every : int64[1152]   rows, on sky or not
    """
    by_ifu = products.reshape(2, N_IFU, N_SLICE, *products.shape[2:]).sum(axis=2)
    rows_by_ifu = rows.reshape(N_IFU, N_SLICE).sum(axis=1)
    of_ifu = np.repeat(Evidence.of(by_ifu, rows_by_ifu).amount, N_SLICE, axis=0)
    own = Evidence.of(products, rows)
    few = (columns < MIN_COLUMNS) | (rows < MIN_ROWS)
    gain_of_ifu = _gain(*_normal_equations(products.sum(axis=0)), of_ifu)
    follows = few | ((gain_of_ifu >= own.gain) & (gain_of_ifu > EVIDENCE))
    errs = _errs((own.gain > 0.0) & ~few, ~few)
    amount = np.where(follows[:, np.newaxis], of_ifu, own.amount) * errs[:, np.newaxis]
    follows &= (of_ifu != 0.0).any(axis=1) & errs
    return SliceRefinement(templates, _centred(amount, every), columns, follows, every > 0)


def _errs(asks: npt.NDArray[np.bool_], fitted: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell of each slice whether enough of its IFU ask for a change; yes where none could be asked."""
    asking, asked = (flags.reshape(N_IFU, N_SLICE).sum(axis=1) for flags in (asks, fitted))
    return np.repeat(asking >= SHARE * asked, N_SLICE)


def _centred(amount: Vector, rows: npt.NDArray[np.int64]) -> Vector:
    """Return amounts whose throughputs, of all rows, are right in the mean.

    Only slices that are changed anyway are changed more.
    """
    amount = amount.copy()
    for term in THROUGHPUT:
        changed = amount[:, term] != 0.0
        weight = float(rows[changed].sum())
        if weight > 0.0:
            amount[changed, term] -= float((rows * amount[:, term]).sum()) / weight
    return amount


@dataclass(frozen=True)
class Evidence:
    """Amounts of the terms that the rows ask for, and how much they ask for them.

    Parameters
    ----------
    amount : float64[n, 7]   0 where nothing is asked for
    gain : float64[n]   by how much chi-square of columns falls that took no part in the fit
    """

    amount: Vector
    gain: Vector

    @classmethod
    def of(cls, products: Vector, rows: npt.NDArray[np.int64]) -> Evidence:
        """Choose the terms, of all models that hold slopes only beside their constants.

        Parameters
        ----------
        products : float64[2, n, 8, 8]   upper triangles; the last columns belong to the data
        rows : int64[n]   numbers of rows
        """
        halves = [_normal_equations(part) for part in products]
        whole = _normal_equations(products.sum(axis=0))
        best = np.full(rows.size, EVIDENCE)
        amount = np.zeros((rows.size, N_TERM))
        for terms in MODELS[1:]:
            forth, back = (_gain(*halves[1 - k], _solution(*halves[k], terms)) for k in (0, 1))
            gain = forth + back
            better = np.flatnonzero((gain > best) & (rows >= MIN_ROWS))
            best[better] = gain[better]
            amount[better] = _solution(*whole, terms)[better]
        return cls(amount, np.where(amount.any(axis=1), best, 0.0))


def _normal_equations(products: Vector) -> tuple[Vector, Vector]:
    """Return matrix and right side of the terms of the sky, those of the objects eliminated.

    Parameters
    ----------
    products : float64[n, 8, 8]   upper triangles
    """
    whole = np.triu(products) + np.swapaxes(np.triu(products, 1), 1, 2)
    sky = [k for k in range(N_TERM + 1) if k not in OBJECTS]
    lines = whole[:, OBJECTS][:, :, OBJECTS]
    scale = np.sqrt(np.maximum(np.diagonal(lines, axis1=1, axis2=2), 1e-300))
    lines = lines / (scale[:, :, np.newaxis] * scale[:, np.newaxis, :]) + RIDGE * np.eye(len(OBJECTS))
    mixed = whole[:, OBJECTS][:, :, sky] / scale[:, :, np.newaxis]
    rest = whole[:, sky][:, :, sky] - np.swapaxes(mixed, 1, 2) @ np.linalg.solve(lines, mixed)
    return rest[:, :-1, :-1], rest[:, :-1, -1]


def _solution(matrix: Vector, right: Vector, terms: list[int]) -> Vector:
    """Return the amounts of some terms that are most likely, float64[n, 7]."""
    part = matrix[:, terms][:, :, terms] + np.diag(USUAL[terms] ** -2.0)
    scale = np.sqrt(np.maximum(np.diagonal(part, axis1=1, axis2=2), 1e-300))
    part = part / (scale[:, :, np.newaxis] * scale[:, np.newaxis, :]) + RIDGE * np.eye(len(terms))
    amount = np.zeros((len(matrix), N_TERM))
    amount[:, terms] = np.linalg.solve(part, (right[:, terms] / scale)[:, :, np.newaxis])[:, :, 0] / scale
    return amount


def _gain(matrix: Vector, right: Vector, amount: Vector) -> Vector:
    """Return by how much chi-square falls with given amounts (float64[n, 7])."""
    x = amount[:, : right.shape[1]]
    return 2.0 * (x * right).sum(axis=1) - np.einsum("ni,nij,nj->n", x, matrix, x)
