# SPDX-License-Identifier: BSD-3-Clause
"""FLUX_SCALE: the factors that bring the exposures to one level, from the sources that they share."""

from __future__ import annotations

import numpy as np

from muse_core.alignment.arrays import Floats
from muse_core.alignment.offsets.alignment import Alignment
from muse_core.alignment.offsets.confidence import CLOSE_PIX, Confidence
from muse_core.alignment.offsets.matching import matched_pairs
from muse_core.alignment.offsets.network import connected_groups, solve_network
from muse_core.framework.unit_spelling import same_unit

LEAST_SIGNIFICANCE = 5.0  # of a flux
MEDIAN_EFFICIENCY = 1.2533
LEAST_ERROR = 1e-3  # of a factor: apertures hold the same part of a star to about that


def measure_flux_scales(alignment: Alignment, verdict: Confidence) -> tuple[Floats, Floats]:
    """Factor on the data of each member of the group and its relative error (1 sigma).

    The reference is the first exposure, or a reference image in the unit of the exposures.

    Returns
    -------
    scale, error : float64[n]
        NaN where the offset is not trusted or no source is shared.
    """
    count = len(alignment.fields)
    scale, error = np.full(count, np.nan), np.full(count, np.nan)
    first = 0
    if alignment.group.external and not same_unit(alignment.fields[0].unit, alignment.first_image.unit):
        first = 1
    rows = _pairs(alignment, verdict)
    if rows.size:
        i, j = rows[0].astype(np.int64), rows[1].astype(np.int64)
        solved = solve_network(count, i, j, rows[2][:, None], 1.0 / rows[3])[:, 0]
        label = connected_groups(count, i, j)
        tied = label == label[first]
        # exposures share their sources: the error is that of the best pair, not of the many combined
        best = np.full(count, np.inf)
        np.minimum.at(best, i, rows[3])
        np.minimum.at(best, j, rows[3])
        scale[tied] = np.exp(solved[first] - solved[tied])
        error[tied] = scale[tied] * best[tied]
    if verdict.trusted[first] or not verdict.trusted.any():
        scale[first], error[first] = 1.0, 0.0
    return scale, error


def _pairs(alignment: Alignment, verdict: Confidence) -> Floats:
    """Pairs of exposures: their numbers, the logarithm of the ratio of fluxes, its error; float64[4, n]."""
    table, sources = alignment.table, alignment.sources
    close = CLOSE_PIX * alignment.first_image.pixel_arcsec / 3600.0
    unit = alignment.first_image.unit
    rows = []
    for i, j, a, b in matched_pairs(table, alignment.solution.shifts, close):
        for other in np.unique(j):
            known = all(verdict.trusted[n] and same_unit(alignment.fields[n].unit, unit) for n in (i, other))
            mine, theirs = a[j == other] - table.first[i], b[j == other] - table.first[other]
            flux, partner = sources[i].brightness[mine], sources[other].brightness[theirs]
            noise = sources[i].brightness_error[mine], sources[other].brightness_error[theirs]
            with np.errstate(invalid="ignore", divide="ignore"):
                relative = np.hypot(noise[0] / flux, noise[1] / partner)
                use = (flux > 0) & (partner > 0) & (relative < 1.0 / LEAST_SIGNIFICANCE)
            if not known or not use.any():
                continue
            ratio, relative = np.log(flux[use] / partner[use]), np.maximum(relative[use], LEAST_ERROR)
            value = _weighted_median(ratio, 1.0 / relative**2)
            rows.append((i, other, value, _error(ratio - value, relative)))
    return np.array(rows, dtype=np.float64).reshape(-1, 4).T


def _weighted_median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weight[order])
    middle = np.searchsorted(sums, sums[-1] / 2.0)
    return float(values[order][middle])


def _error(residuals: Floats, errors: Floats) -> float:
    """Error of the median: what the noise lets expect, or more where the ratios scatter."""
    expected = MEDIAN_EFFICIENCY / np.sqrt(np.sum(1.0 / errors**2))
    if residuals.size < 3:
        return float(expected)
    spread = 1.4826 * float(np.median(np.abs(residuals) / errors))
    return float(expected * max(1.0, spread))
