# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of spectra that are the same for all slices: means of rows, subtraction of a curve."""

from __future__ import annotations

import numpy as np

from muse_core.data.exact_sums import split
from muse_core.framework.kernels import njit

COARSE, FINE = 2.0**-8, 2.0**-40


@njit(cache=True, nogil=True)
def add_to_means(lam, data, selected, lam_min, step, coarse, fine, count):
    """Add rows to the intervals between two bins.

    Parameters
    ----------
    lam, data : float32[n], selected : bool[n]
    coarse, fine : float64[n_interval, 3]   sums of data, t * data, t (t: place in the interval, 0 to 1), as
        multiples of 2**-8 and of 2**-40; updated, as is
    count : int64[n_interval]
    """
    for i in range(lam.size):
        if not selected[i]:
            continue
        place = (np.float64(lam[i]) - lam_min) / step
        j = min(max(int(place), 0), count.size - 1)
        t = place - j
        d = np.float64(data[i])
        count[j] += 1
        high, low = split(d, COARSE, FINE)
        coarse[j, 0] += high
        fine[j, 0] += low
        high, low = split(t * d, COARSE, FINE)
        coarse[j, 1] += high
        fine[j, 1] += low
        high, low = split(t, COARSE, FINE)
        coarse[j, 2] += high
        fine[j, 2] += low


@njit(cache=True, nogil=True)
def subtract_linear(lam, data, node_lam, node_value, first, cells_per_angstrom):
    """Subtract a linearly interpolated function from ``data``.

    Parameters
    ----------
    lam, data : float32[n]   data is updated in place
    node_lam, node_value : float64[m], increasing
    first : int32[n_cell + 1]   node index at the start of each cell of equal width
    """
    n_node = node_lam.size
    n_cell = first.size
    if n_node == 1:
        for i in range(lam.size):
            data[i] = np.float32(data[i] - node_value[0])
        return
    for i in range(lam.size):
        x = np.float64(lam[i])
        cell = min(max(int((x - node_lam[0]) * cells_per_angstrom), 0), n_cell - 1)
        j = max(first[cell] - 1, 0)
        while j < n_node - 2 and node_lam[j + 1] <= x:
            j += 1
        t = (x - node_lam[j]) / (node_lam[j + 1] - node_lam[j])
        t = min(max(t, 0.0), 1.0)
        value = node_value[j] + t * (node_value[j + 1] - node_value[j])
        data[i] = np.float32(np.float64(data[i]) - value)
