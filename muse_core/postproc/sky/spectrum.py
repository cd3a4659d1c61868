# SPDX-License-Identifier: BSD-3-Clause
"""The sky spectrum of an exposure: collected block by block, clipped, and subtracted (skymethod=simple).

How a slab loop uses this module::

    total = SkySpectrumSum(lam_min, lam_max, sampling)     # limits of the whole table, as float32
    for block in blocks:                                   # in any order, on any thread
        total.add(block.lam, block.data, block.stat, mask.select(x, y) & (dq == 0))
    spectrum = total.spectrum()
    limits = total.clip_limits(sigma)                      # second value of sky_crsigma; 0: no clipping
    if total.can_clip(limits):
        spectrum = total.clipped(limits)                   # nearly always: no second pass over the rows
    else:
        again = total.emptied(limits)
        ... the same loop with ``again.add`` ...
        spectrum = again.spectrum()
    curve = spectrum.curve()
    for block in blocks:                                   # drop rows outside curve.range first
        subtract_curve(block.lam, block.data, curve)

The spectrum is the same, bit for bit, for any blocks, threads and row order (see `spectrum_kernels`).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from muse_core.data.exact_sums import LIMB_UNITS, N_LIMBS
from muse_core.data.per_thread import PerThread
from muse_core.framework import RecipeError
from muse_core.postproc.sky import spectrum_kernels as kernels
from muse_core.postproc.sky.mean_kernels import subtract_linear

N_TOP = 12
DEFAULT_SAMPLING = 0.3125


@dataclass(frozen=True)
class SkyCurve:
    """A function given at increasing wavelengths, linear in between, with an index for fast look-up.

    Parameters
    ----------
    lam, value : float64[n]
    first : int32[n_cell + 1]   index of the last node at or below the start of each cell
    cells_per_angstrom : inverse width of the cells
    """

    lam: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]
    first: npt.NDArray[np.int32]
    cells_per_angstrom: float

    @property
    def range(self) -> tuple[float, float]:
        """First and last wavelength; rows beyond these are removed before a subtraction."""
        return float(self.lam[0]), float(self.lam[-1])

    @classmethod
    def from_nodes(cls, lam: npt.ArrayLike, value: npt.ArrayLike) -> SkyCurve:
        """Build the index of a curve given at strictly increasing wavelengths."""
        lam = np.ascontiguousarray(lam, dtype=np.float64)
        value = np.ascontiguousarray(value, dtype=np.float64)
        width = max(float(lam[-1] - lam[0]), 1e-6)
        n_cell = 2 * lam.size
        edges = lam[0] + np.arange(n_cell + 1) * (width / n_cell)
        first = np.clip(np.searchsorted(lam, edges, side="right") - 1, 0, max(lam.size - 2, 0))
        return cls(lam, value, first.astype(np.int32), n_cell / width)

    def __call__(self, lam: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Evaluate the curve (constant outside its range)."""
        return np.interp(np.asarray(lam, dtype=np.float64), self.lam, self.value)


@dataclass(frozen=True)
class SkySpectrum:
    """The mean spectrum of the sky rows; bins that received nothing are left out.

    Parameters
    ----------
    lam, data, stat : float64[n]   wavelength, mean of the data, mean of the variances
    step : distance of the bins (where none is left out)
    n_rows : number of rows that went in
    n_clipped : number of rows that were left out as outliers
    """

    lam: npt.NDArray[np.float64]
    data: npt.NDArray[np.float64]
    stat: npt.NDArray[np.float64]
    step: float
    n_rows: int
    n_clipped: int = 0

    def curve(self) -> SkyCurve:
        """Return the spectrum as a function of wavelength, for `subtract_curve`."""
        if self.lam.size == 0:
            raise RecipeError(
                "The sky spectrum is empty: no good row lies on the sky mask. Raise skymodel_fraction, lower "
                "skymodel_ignore, or give a SKY_MASK that overlaps the field."
            )
        return SkyCurve.from_nodes(self.lam, self.data)


class _Sums:
    """The sums of one thread: see `spectrum_kernels.add_rows` for the arrays."""

    def __init__(self, n: int) -> None:
        self.limbs = np.zeros((n, kernels.N_SUMS * N_LIMBS), dtype=np.int64)
        self.floats = np.zeros((n, kernels.N_SUMS))
        self.count = np.zeros(n, dtype=np.int64)
        self.top_n = np.zeros(n, dtype=np.int32)
        self.top_low = np.zeros(n, dtype=np.int32)
        self.top = [np.zeros((n, N_TOP), dtype=np.float32) for _ in range(3)]  # lam, data, stat
        self.n_left_out = 0

    def merge(self, other: _Sums) -> None:
        """Add what another thread has collected."""
        self.limbs += other.limbs
        self.floats += other.floats
        self.count += other.count
        self.n_left_out += other.n_left_out
        kernels.merge_tops(self.top_n, self.top_low, *self.top, other.top_n, *other.top)


class SkySpectrumSum:
    """Collects rows for a sky spectrum; `add` may be called from several threads at once.

    Parameters
    ----------
    lam_min, lam_max : limits of the wavelengths of the whole exposure (all rows, not only sky)
    step : ``skymodel_sampling``
    limits : rows above these values (one per interval between two bins) are left out
    """

    def __init__(
        self,
        lam_min: float,
        lam_max: float,
        step: float = DEFAULT_SAMPLING,
        limits: npt.NDArray[np.float64] | None = None,
    ) -> None:
        if not step > 0.0:
            raise ValueError(f"the step of a sky spectrum is {step}")
        if not lam_max >= lam_min:
            raise RecipeError(f"The wavelength limits {lam_min} .. {lam_max} of the exposure contain no row.")
        self.lam_min, self.lam_max, self.step = float(lam_min), float(lam_max), float(step)
        self.n_interval = math.floor((self.lam_max - self.lam_min) / self.step) + 1
        self.limits = (
            np.full(self.n_interval, np.inf) if limits is None else np.asarray(limits, dtype=np.float64)
        )
        self._sums = PerThread(partial(_Sums, self.n_interval))

    @property
    def n_rows(self) -> int:
        """Number of rows added so far."""
        return sum(int(sums.count.sum()) for sums in self._sums.objects())

    def add(
        self,
        lam: npt.NDArray[np.float32],
        data: npt.NDArray[np.float32],
        stat: npt.NDArray[np.float32],
        selected: npt.NDArray[np.bool_],
    ) -> None:
        """Add the selected rows of a block (on the sky mask, dq = 0, no cosmic ray)."""
        sums = self._sums.mine()
        sums.n_left_out += kernels.add_rows(
            lam, data, stat, selected, self.lam_min, self.step, self.limits, sums.limbs, sums.floats,
            sums.count, sums.top_n, sums.top_low, *sums.top,
        )  # fmt: skip

    def emptied(self, limits: npt.NDArray[np.float64] | None = None) -> SkySpectrumSum:
        """Return an empty sum with the same bins, e.g. for the second pass."""
        return SkySpectrumSum(
            self.lam_min, self.lam_max, self.step, self.limits if limits is None else limits
        )

    def merge(self, other: SkySpectrumSum) -> None:
        """Add what another sum of the same exposure has collected."""
        self._collected().merge(other._collected())

    def _collected(self) -> _Sums:
        """Return the sums of all threads as one."""
        return self._sums.joined(_Sums.merge)

    def spectrum(self) -> SkySpectrum:
        """Return the spectrum of the rows added so far."""
        return self._spectrum_of(self._collected(), 0)

    def _spectrum_of(self, sums: _Sums, n_taken: int) -> SkySpectrum:
        lam, data, stat, filled = self._bins(sums)
        n_rows, n_clipped = int(sums.count.sum()), sums.n_left_out + n_taken
        return SkySpectrum(lam[filled], data[filled], stat[filled], self.step, n_rows, n_clipped)

    def clip_limits(self, sigma: float) -> npt.NDArray[np.float64]:
        """Return the value above which a row is an outlier, for each interval.

        A row is left out if it is above ``data + sigma * sqrt(stat)`` of both bins around it; only high
        values are outliers (measured against 2.8.7).  ``sigma`` = 0: nothing is.
        """
        if sigma <= 0:
            return np.full(self.n_interval, np.inf)
        _, data, stat, filled = self._bins(self._collected())
        with np.errstate(invalid="ignore"):
            high = data + sigma * np.sqrt(stat)
        high[~filled] = -np.inf
        return np.maximum(high[:-1], high[1:])

    def can_clip(self, limits: npt.NDArray[np.float64]) -> bool:
        """Say whether `clipped` works, i.e. all outliers are among the remembered highest rows."""
        sums = self._collected()
        return bool(kernels.tops_suffice(limits, sums.top_n, sums.top_low, *sums.top[1:]))

    def clipped(self, limits: npt.NDArray[np.float64]) -> SkySpectrum:
        """Return the spectrum without the rows above the limits; exactly what a second pass would give."""
        sums = self._collected()
        rest = copy.copy(sums)
        rest.limbs, rest.count = sums.limbs.copy(), sums.count.copy()
        taken = kernels.take_away_tops(
            limits, self.lam_min, self.step, rest.limbs, rest.count, rest.top_n, *rest.top
        )
        return self._spectrum_of(rest, int(taken))

    def _bins(self, sums: _Sums) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]:
        """Return wavelength, data, stat of all bins, and which of them received something."""
        n = self.n_interval + 1
        limbs = np.zeros((n, 3, N_LIMBS), dtype=np.int64)
        floats = np.zeros((n, 3))
        one = round(1 / LIMB_UNITS[1])
        collected = sums.limbs.reshape(-1, kernels.N_SUMS, N_LIMBS)
        left, right = (0, 2), (1, 3, 4)  # data, stat; t * data, t * stat, t, which belong to the upper bin
        limbs[1:] += collected[:, right]
        limbs[:-1] -= collected[:, right]
        limbs[:-1, :2] += collected[:, left]
        limbs[:-1, 2, 1] += sums.count * one
        with np.errstate(invalid="ignore"):
            floats[1:] += sums.floats[:, right]
            floats[:-1] -= sums.floats[:, right]
            floats[:-1, :2] += sums.floats[:, left]
        total = sum(limbs[:, :, k] * unit for k, unit in enumerate(LIMB_UNITS)) + floats
        filled = total[:, 2] > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            data, stat = total[:, 0] / total[:, 2], total[:, 1] / total[:, 2]
        return self.lam_min + np.arange(n) * self.step, data, stat, filled


def subtract_curve(lam: npt.NDArray[np.float32], data: npt.NDArray[np.float32], curve: SkyCurve) -> None:
    """Subtract a curve from ``data`` in place; ``stat`` stays as it is."""
    subtract_linear(lam, data, curve.lam, curve.value, curve.first, curve.cells_per_angstrom)
