# SPDX-License-Identifier: BSD-3-Clause
"""Levels of the IFUs in a field with a vignetted area, or of slices that leave the detector.

The integrated flux of an IFU says nothing of its throughput when a part of it is vignetted or missing. The
cube tells better: outside of that area the sky flat over its smooth model is 1 in every IFU. An IFU that is
vignetted as a whole gets the level at which the vignetting goes on smoothly from one IFU to the next.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from muse_core.detector.tables import SliceGeometry

IfuMap = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]

MIXED_PIXELS = 1.5  # spaxels that close to slices of two IFUs belong to neither
OPEN_SHARE = 0.25  # of its spaxels must lie outside the vignetted area to tell the level of an IFU
MARGIN_ROWS = 12  # one IFU
JOINT_ORDERS = (2, 8)  # in x and y: a Gaussian edge then gives levels right to 0.1 %
ENOUGH = 5  # spaxels per coefficient


def field_map(
    geometries: dict[int, SliceGeometry], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> IfuMap:
    """Number of the IFU that each spaxel belongs to.

    Parameters
    ----------
    geometries : dict of int to SliceGeometry
        By IFU.
    x, y : float64[nx], float64[ny]
        Positions of the spaxels in the field.

    Returns
    -------
    int16[ny, nx]
        0 outside of all slices and where two IFUs meet.
    """
    low = np.full((y.size, x.size), 99, np.int16)
    high = np.zeros((y.size, x.size), np.int16)
    for ifu, geometry in geometries.items():
        for centre, height, width in zip(geometry.x, geometry.y, geometry.width, strict=True):
            columns = np.abs(x - centre) <= 0.5 * width + 0.5
            rows = np.flatnonzero(np.abs(y - height) < MIXED_PIXELS)
            if rows.size:
                part = slice(rows[0], rows[-1] + 1), columns
                low[part] = np.minimum(low[part], ifu)
                high[part] = np.maximum(high[part], ifu)
    return np.where(low == high, high, 0).astype(np.int16)


def fit_levels(ratio: npt.NDArray[np.float32], good: Mask, vignetted: Mask, ifus: IfuMap) -> dict[int, float]:
    """Level of each IFU: factor by which its data are too high compared with the model of the field.

    Parameters
    ----------
    ratio : float32[ny, nx]
        White image over the smooth fit.
    good, vignetted : bool[ny, nx]
        Illuminated and vignetted area.
    ifus : int[ny, nx]
        From `field_map`.

    Returns
    -------
    dict
        IFUs whose level cannot be told are left out.
    """
    usable = good & (ifus > 0) & np.isfinite(ratio)
    levels: dict[int, float] = {}
    closed: list[int] = []
    for ifu in np.unique(ifus[usable]).tolist():
        own = usable & (ifus == ifu)
        free = own & ~vignetted
        if free.sum() > OPEN_SHARE * own.sum():
            levels[ifu] = float(ratio[free].mean(dtype=np.float64))
        else:
            closed.append(ifu)
    if closed and levels:
        levels |= _continue_levels(ratio, usable, vignetted, ifus, levels, closed)
    return levels


def _continue_levels(
    ratio: npt.NDArray[np.float32],
    usable: Mask,
    vignetted: Mask,
    ifus: IfuMap,
    known: dict[int, float],
    closed: list[int],
) -> dict[int, float]:
    """Levels of IFUs without open spaxels: one polynomial through them and a margin of known IFUs.

    Least squares of ``t_n ratio - polynomial`` with t = 1 / level, given for the known IFUs.
    """
    rows = np.flatnonzero((vignetted & usable).any(axis=1))
    area = usable & (np.isin(ifus, closed) | np.isin(ifus, list(known)))
    area[: max(rows[0] - MARGIN_ROWS, 0)] = False
    area[rows[-1] + MARGIN_ROWS + 1 :] = False
    iy, ix = np.nonzero(area)
    number, values = ifus[area], ratio[area].astype(np.float64)
    n = len(closed) + (JOINT_ORDERS[0] + 1) * (JOINT_ORDERS[1] + 1)
    if iy.size < ENOUGH * n or not np.isin(number, list(known)).any():
        return {}
    scaled = [(2.0 * i - i.min() - i.max()) / max(np.ptp(i), 1) for i in (ix, iy)]
    bx, by = (np.polynomial.legendre.legvander(u, k) for u, k in zip(scaled, JOINT_ORDERS, strict=True))
    polynomial = (by[:, :, None] * bx[:, None, :]).reshape(iy.size, -1)
    free = values[:, None] * (number[:, None] == np.array(closed))
    target = np.zeros(iy.size)
    for ifu, level in known.items():
        own = number == ifu
        target[own] = values[own] / level
    solution, _, rank, _ = np.linalg.lstsq(np.hstack([free, -polynomial]), -target, rcond=None)
    if rank < n:
        return {}
    return {
        ifu: float(1 / t) for ifu, t in zip(closed, solution[: len(closed)], strict=True) if 0.5 < t < 2.0
    }
