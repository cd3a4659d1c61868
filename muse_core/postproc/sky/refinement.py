# SPDX-License-Identifier: BSD-3-Clause
"""Refinement of the sky per slice: throughputs, wavelengths and widths that the calibrations do not tell.

After the sky of an exposure is subtracted, the rows of each slice that lie on sky are compared with the mean
spectrum S of the sky and its derivatives::

    rest = (a + a' x) S + (b + b' x) dS/dl + c d2S/dl2 + d + d' x,      x = -1 .. 1 over the wavelengths

a is an error of the throughput, b a shift of the wavelengths, c half the excess of the squared width of the
line-spread function. The straight line keeps the light of objects out of the others and is not subtracted; so
spaxels with some light of objects can take part.
A term is used in a slice only if the fit is better by more than chance explains (Schwarz 1978, eq. 2: by the
logarithm of the number of rows in chi-square). A slice with few columns on sky gets what was fitted to all
slices of its IFU together.
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
OBJECTS = [5, 6]
"""Terms that are always there and never subtracted: the light of objects."""
MODELS = [
    [*throughput, *shift, *width]
    for throughput in ((), (0,), (0, 1))
    for shift in ((), (2,), (2, 3))
    for width in ((), (4,))
]
"""Terms that may be used together, from the simplest model on."""
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
        self.coarse, self.fine = (np.zeros((N_KEY, N_TERM + 1, N_TERM + 1)) for _ in range(2))
        self.count = np.zeros(N_KEY, np.int64)
        self.columns = np.zeros((N_KEY, 128), np.bool_)

    def merge(self, other: _Sums) -> None:
        """Add what another thread has collected."""
        self.coarse += other.coarse
        self.fine += other.fine
        self.count += other.count
        self.columns |= other.columns


def fit_refinement(chain: Chain, region: SkyRegion, subtract: Callable[[Block], None]) -> SliceRefinement:
    """Fit the refinement to the rows on sky.

    Parameters
    ----------
    subtract : callable
        takes the sky out of the rows of a block
    """
    templates = SkyTemplates.from_spectrum(region.spectrum)
    sums = PerThread(_Sums)

    mask = region.faint_mask()

    def on_sky(block: Block) -> npt.NDArray[np.bool_]:
        return region.white.good(block) & mask.select(block.xpos, block.ypos)

    def add(block: Block) -> None:
        subtract(block)
        mine = sums.mine()
        good = (block.dq == 0) & np.isfinite(block.data)
        sum_products(
            block.lam, block.data, block.stat, block.origin, good, *templates.numbers(), CLIP, mine.coarse,
            mine.fine, mine.count, mine.columns,
        )  # fmt: skip

    for _ in chain.map_selected(on_sky, add):
        pass
    total = sums.joined(_Sums.merge)
    present = rows_by_slice(chain.files.rows_of_slices()) > 0
    return fit_amounts(templates, total.coarse + total.fine, total.count, total.columns.sum(axis=1), present)


def fit_amounts(
    templates: SkyTemplates,
    products: Vector,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    present: npt.NDArray[np.bool_],
) -> SliceRefinement:
    """Solve for the amounts of all slices.

    Parameters
    ----------
    products : float64[1152, 8, 8]   see `sum_products`
    rows, columns : int64[1152]
    present : bool[1152]   slices with rows, on sky or not
    """
    by_ifu = products.reshape(N_IFU, N_SLICE, *products.shape[1:]).sum(axis=1)
    rows_by_ifu = rows.reshape(N_IFU, N_SLICE).sum(axis=1)
    own = (columns >= MIN_COLUMNS) & (rows >= MIN_ROWS)
    amount = np.where(
        own[:, np.newaxis], solve(products, rows), np.repeat(solve(by_ifu, rows_by_ifu), N_SLICE, axis=0)
    )
    amount[:, OBJECTS] = 0.0
    return SliceRefinement(templates, amount, columns, ~own, present)


def solve(products: Vector, rows: npt.NDArray[np.int64]) -> Vector:
    """Return the amounts of the terms that the rows ask for, float64[n, 7].

    Of all models that hold slopes only beside their constants, the one is taken that lowers chi-square most,
    less a penalty for each of its terms.

    Parameters
    ----------
    products : float64[n, 8, 8]   upper triangles; the last columns belong to the data
    rows : int64[n]   numbers of rows
    """
    matrix = np.triu(products) + np.swapaxes(np.triu(products, 1), 1, 2)
    scale = np.sqrt(np.maximum(np.diagonal(matrix, axis1=1, axis2=2)[:, :N_TERM], 1e-300))
    normal = matrix[:, :N_TERM, :N_TERM] / (scale[:, :, np.newaxis] * scale[:, np.newaxis, :])
    right = matrix[:, :N_TERM, N_TERM] / scale
    best = np.full(rows.size, -np.inf)
    solution = np.zeros((rows.size, N_TERM))
    penalty = np.log(np.maximum(rows, 2))
    for terms in MODELS:
        used = [*OBJECTS, *terms]
        part = normal[:, used][:, :, used] + RIDGE * np.eye(len(used))
        found = np.linalg.solve(part, right[:, used, np.newaxis])[:, :, 0]
        gain = (found * right[:, used]).sum(axis=1) - penalty * len(terms)
        better = np.flatnonzero((gain > best) & (rows >= MIN_ROWS))
        best[better] = gain[better]
        solution[better] = 0.0
        solution[np.ix_(better, used)] = found[better]
    return solution / scale
