# SPDX-License-Identifier: BSD-3-Clause
"""Factors of the slices that are tested: on detector columns which took no part in their measurement.

A slice gets one factor for all wavelengths if the levels of both halves of its columns come nearer to that of
the field by the factors of the other half; and a factor of its own in a wavelength range if that is nearer
still. The gain must be larger than chance explains. All others stay as they are, or follow their IFU where
they have too few columns on sky: light of objects on a few columns, or noise, makes no factors.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.data.slices import N_IFU, N_SLICE
from muse_core.postproc.autocalibration.factors import AutocalModel, SliceSums
from muse_core.postproc.autocalibration.levels import MIN_ROWS, MIN_SLICES, clipped_mean

Floats = npt.NDArray[np.float64]

MIN_COLUMNS = 12
"""Slices with fewer detector columns on sky are not measured."""
EVIDENCE = 4.0
"""By how much chi-square of both halves must fall together; with factors of noise it does in 1 of 30."""
SCATTER = 0.002
"""Of the level: differences between parts of a slice that are not noise (flat field, faint objects)."""
GROUP = 4  # neighbouring columns that go to the same half

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Levels:
    """Levels of the slices in one half of the columns or in all of them.

    Parameters
    ----------
    value, error : float64[n, 24, 48]   NaN where not measured
    """

    value: Floats
    error: Floats

    @classmethod
    def measure(cls, sums: SliceSums, columns: npt.NDArray[np.bool_], fewest: int) -> Levels:
        """Measure the levels as means of column means, without columns that stick out.

        Parameters
        ----------
        columns : bool[128]   which take part
        fewest : slices with fewer good columns are not measured
        """
        n = sums.edges.size - 1
        value, error = np.full((2, n, N_IFU, N_SLICE), np.nan)
        for k in range(n):
            means, counts = sums.column_means(k)
            usable = (counts > MIN_ROWS) & columns
            for ifu, sli in zip(*np.nonzero(usable.sum(axis=2) >= fewest), strict=True):
                mean, sigma, number = clipped_mean(means[ifu, sli][usable[ifu, sli]])
                if number >= fewest:
                    value[k, ifu, sli] = mean
                    error[k, ifu, sli] = np.hypot(sigma / np.sqrt(number), SCATTER * mean)
        return cls(value, error)


@dataclass(frozen=True)
class TestedFactors:
    """Factors, and what became of the slices.

    Parameters
    ----------
    model : AutocalModel
    tested : int   slices with enough columns on sky
    corrected : int   slices among them with a factor
    follows : int   slices that follow their IFU
    """

    model: AutocalModel
    tested: int
    corrected: int
    follows: int

    def qc(self) -> list[tuple[str, object, str]]:
        """Quality parameters of the product AUTOCAL_FACTORS."""
        prefix = "ESO QC SCIPOST AUTOCAL"
        changed = self.model.factors[self.model.npts > 0]
        scatter = 100.0 * float(changed.std()) if changed.size else 0.0
        return [
            (f"{prefix} NTESTED", self.tested, "Slices with enough sky"),
            (f"{prefix} NCORR", self.corrected, "Slices among them whose factors help"),
            (f"{prefix} NREFUSED", self.tested - self.corrected, "Slices whose factors do not help"),
            (f"{prefix} NIFU", self.follows, "Slices that follow their IFU"),
            (f"{prefix} SCATTER", scatter, "[%] Scatter of the factors"),
        ]


def fit_tested_factors(sums: SliceSums, log: logging.Logger = _log) -> TestedFactors:
    """Find factors that bring the slices to the level of the field, where they do.

    Parameters
    ----------
    sums : of all rows on sky
    """
    group = np.arange(128) // GROUP % 2
    whole = Levels.measure(sums, np.ones(128, np.bool_), MIN_COLUMNS)
    halves = [Levels.measure(sums, group == side, MIN_COLUMNS // 2) for side in (0, 1)]
    n = sums.edges.size - 1
    total = np.array([clipped_mean(part[np.isfinite(part)])[0] for part in whole.value])[:, None, None]
    grey, grey_gain = _tested(total, whole, halves, together=True)
    grey = np.where(grey_gain > EVIDENCE, grey, 1.0) * np.ones((n, 1, 1))
    own, own_gain = _tested(total / grey, whole, halves, together=False)
    factors = np.where(own_gain > EVIDENCE, grey * own, grey)
    measured = np.count_nonzero(np.isfinite(whole.value), axis=0) > 0
    follows = (sums.rows.sum(axis=0) > 0) & ~measured
    for ifu in range(N_IFU):
        if follows[ifu].any() and measured[ifu].sum() >= MIN_SLICES:
            factors[:, ifu, follows[ifu]] = factors[:, ifu, measured[ifu]].mean(axis=1, keepdims=True)
    corrected = int((measured & (factors != 1.0).any(axis=0)).sum())
    found = TestedFactors(
        AutocalModel(sums.edges.copy(), factors, sums.rows.copy(), np.full_like(factors, np.nan)),
        int(measured.sum()),
        corrected,
        int(follows.sum()),
    )
    log.info(
        "autocalibration: factors of %d of %d slices help (on columns not used for it), %d follow their IFU",
        found.corrected,
        found.tested,
        found.follows,
    )
    return found


def _tested(target: Floats, whole: Levels, halves: list[Levels], *, together: bool) -> tuple[Floats, Floats]:
    """Return factors that bring levels to a target, and by how much they help on columns not used for them.

    Parameters
    ----------
    target : broadcast to [n, 24, 48]
    together : one factor for all ranges

    Returns
    -------
    factors, gains : float64[n or 1, 24, 48]
        1 and 0 where nothing was measured
    """
    gains = np.zeros(whole.value.shape)
    for one, other in (halves, halves[::-1]):
        factor = _factors(target, one, together=together)
        before = (other.value - target) / other.error
        after = (factor * other.value - target) / other.error
        gains += np.nan_to_num(before**2 - after**2)
    factors = np.nan_to_num(_factors(target, whole, together=together), nan=1.0)
    return factors, gains.sum(axis=0, keepdims=True) if together else gains


def _factors(target: Floats, levels: Levels, *, together: bool) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = target / levels.value
        if not together:
            return factor
        weight = np.where(np.isfinite(factor), (levels.value / levels.error) ** 2, 0.0)
        return (weight * np.nan_to_num(factor)).sum(axis=0, keepdims=True) / weight.sum(axis=0, keepdims=True)
