# SPDX-License-Identifier: BSD-3-Clause
"""Mean spectrum of many rows, without variances or outliers: the cheap sister of `sky.spectrum`.

Every row is added to the two bins around it in exact sums (`muse_core.data.exact_sums`), which do not depend
on the order of the rows, on blocks or threads.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.data.per_thread import PerThread
from muse_core.postproc.sky.mean_kernels import add_to_means


class MeanSpectrum:
    """Collects rows; `add` may be called from several threads at once.

    Parameters
    ----------
    lam_min, lam_max : limits of the wavelengths of the whole exposure
    step : distance of the bins

    Examples
    --------
    >>> total = MeanSpectrum(5000.0, 5001.0, 0.5)
    >>> lam = np.array([5000.0, 5000.25, 5000.75], np.float32)
    >>> total.add(lam, np.array([1.0, 3.0, 5.0], np.float32), np.ones(3, np.bool_))
    >>> [column.tolist() for column in total.spectrum()]
    [[5000.0, 5000.5, 5001.0], [1.6666666666666667, 4.0, 5.0]]
    """

    def __init__(self, lam_min: float, lam_max: float, step: float) -> None:
        self._lam_min, self._step = float(lam_min), float(step)
        self._n = math.floor((lam_max - lam_min) / step) + 1
        self._sums = PerThread(partial(_empty_sums, self._n))

    def add(
        self,
        lam: npt.NDArray[np.float32],
        data: npt.NDArray[np.float32],
        selected: npt.NDArray[np.bool_],
    ) -> None:
        """Add the selected rows of a block."""
        add_to_means(lam, data, selected, self._lam_min, self._step, *self._sums.mine())

    def merge(self, other: MeanSpectrum) -> None:
        """Add what another one with the same bins has collected."""
        _add_sums(self._sums.joined(_add_sums), other._sums.joined(_add_sums))

    def spectrum(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return wavelength and mean of the bins that received something."""
        coarse, fine, count = self._sums.joined(_add_sums)
        data, upper, weight = (coarse + fine).T
        with np.errstate(invalid="ignore"):
            total = np.append(data - upper, 0.0) + np.append(0.0, upper)
        weights = np.append(count - weight, 0.0) + np.append(0.0, weight)
        filled = np.flatnonzero(weights > 0)
        return np.asarray(self._lam_min + filled * self._step, np.float64), total[filled] / weights[filled]


def _empty_sums(n: int) -> tuple[npt.NDArray[Any], ...]:
    return np.zeros((n, 3)), np.zeros((n, 3)), np.zeros(n, np.int64)


def _add_sums(total: tuple[npt.NDArray[Any], ...], other: tuple[npt.NDArray[Any], ...]) -> None:
    for mine, new in zip(total, other):
        mine += new
