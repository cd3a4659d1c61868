# SPDX-License-Identifier: BSD-3-Clause
"""Weights by the noise of the sky: the variance of the background of each exposure, measured by wavelength.

The combination of n measurements of the same flux has the highest ratio of signal to noise if each is
weighted with its inverse variance. For faint sources that is the variance of the background, not that of a
row itself: weights that follow the noise of single rows would follow the light of the sources, too, and bend
their profiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.row_weights import WavelengthWeights
from muse_core.framework import RecipeError

if TYPE_CHECKING:
    from muse_core.data.block import Block
    from muse_core.framework import RunContext
    from muse_core.postproc.exposure.reduction import Reduction

BIN_A = 5.0
"""Width of a bin of wavelength, wider where rows are few."""
ROWS_PER_BIN = 1000  # wanted; the deviation of a percentile of so many is 5 %
SAMPLE_PER_BIN = 4000  # of which the statistics are made
BINS_AT_ONCE = 20
RATIO_LIMITS = (0.5, 4.0)
"""Variance measured over that propagated, at least and at most: beyond, it is no noise that is measured."""
_ONE_SIGMA = 15.865525  # per cent of a normal distribution below minus one standard deviation


def background_variance(
    reduction: Reduction, limits: tuple[float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Measure the variance of the background of an exposure by wavelength.

    Its course with wavelength is that of the median variance of the darker half of the rows in each bin (the
    variances that were propagated from the detector); its level is what the rows really scatter: the distance
    from the median to the percentile one standard deviation below it, which sources do not touch. The median
    ratio of both over the bins corrects the level.

    Parameters
    ----------
    reduction : Reduction
        an exposure with all its corrections
    limits : (float, float)
        smallest and largest wavelength of its rows [Angstrom]

    Returns
    -------
    lam : float64[n]
        middles of the bins [Angstrom]
    variance : float64[n]

    Raises
    ------
    RecipeError
        if no bin has rows enough
    """
    low, high = limits
    bins = max(1, min(int((high - low) / BIN_A), reduction.chain.rows // ROWS_PER_BIN))
    edges = np.linspace(low, np.nextafter(high, np.inf), bins + 1)
    found: list[tuple[float, float, float]] = []
    for first in range(0, bins, BINS_AT_ONCE):
        part = edges[first : first + BINS_AT_ONCE + 1]
        found += _statistics(reduction.chain.gather(float(part[0]), float(part[-1])), part)
    if not found:
        raise RecipeError(
            f"weight=invvar: exposure {reduction.number} has too few rows without flags to measure the noise "
            "of its background; choose another weight"
        )
    lam, propagated, measured = np.array(found).T
    ratio = float(np.clip(np.median(measured / propagated), *RATIO_LIMITS))
    return lam, propagated * ratio


def _statistics(block: Block, edges: npt.NDArray[np.float64]) -> list[tuple[float, float, float]]:
    """Return wavelength, propagated and measured variance of the bins that have rows enough."""
    good = (block.dq == 0) & np.isfinite(block.data) & (block.stat > 0.0) & np.isfinite(block.stat)
    place = np.where(good, np.digitize(block.lam, edges) - 1, -1)
    found = []
    for number in range(len(edges) - 1):
        rows = np.flatnonzero(place == number)
        if rows.size < 32:
            continue
        rows = rows[:: -(-rows.size // SAMPLE_PER_BIN)]
        data, stat = block.data[rows].astype(np.float64), block.stat[rows]
        below, middle = np.percentile(data, (_ONE_SIGMA, 50.0))
        dark = float(np.median(stat[data <= middle]))
        if middle > below:
            found.append(((edges[number] + edges[number + 1]) / 2.0, dark, (middle - below) ** 2))
    return found


def fit_inverse_variances(
    members: list[Reduction],
    limits: list[tuple[float, float]],
    ctx: RunContext,
    before: float | None = None,
) -> tuple[tuple[WavelengthWeights, ...], float]:
    """Return the weights of exposures, and the variance that they are relative to.

    Parameters
    ----------
    members : list of Reduction
    limits : list of (float, float)
        wavelength limits of each
    before : float or None
        that variance, of exposures combined before; None: the median variance of the first exposure
    """
    ctx.log.info("%d tables to be weighted using the variance of their background.", len(members))
    weights = []
    reference = before
    for member, ends in zip(members, limits):
        lam, variance = background_variance(member, ends)
        if reference is None:
            reference = float(np.median(variance))
        weights.append(WavelengthWeights(lam, reference / variance))
        ctx.log.info(
            "  exposure %d: background variance %.4g to %.4g, weight %.3f",
            member.number,
            variance.min(),
            variance.max(),
            np.median(weights[-1].weight),
        )
    if reference is None:
        raise ValueError("no exposures")
    return tuple(weights), reference
