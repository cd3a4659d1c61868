# SPDX-License-Identifier: BSD-3-Clause
"""Votes and pairs of the identification of arc lines."""

from __future__ import annotations

import math

import numpy as np

from muse_core.arcs.curve_kernels import fit_clipped, series
from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True)
def vote(u, lamp, lam, begin, scales, bends, first, width, counts, best):
    """Count pairs in bins of the wavelength of the middle, for each dispersion and bend.

    ``u`` (float64[n]): row from -1 to 1; ``lam`` (float64[m]): wavelengths image by image, which ``begin``
    (int64[images + 1]); ``best`` (float64[k, 4]): count, scale, bend, wavelength.
    """
    per_bin = 1.0 / width
    for i in range(scales.size):
        for k in range(bends.size):
            counts[:] = 0
            for a in range(u.size):
                moved = scales[i] * u[a] + bends[k] * u[a] * u[a] + first
                for b in range(begin[lamp[a]], begin[lamp[a] + 1]):
                    bin_number = int((lam[b] - moved) * per_bin)
                    if 0 <= bin_number < counts.size:
                        counts[bin_number] += 1
            for c in range(counts.size - 1):
                votes = counts[c] + counts[c + 1]
                if votes > best[-1, 0]:
                    # one entry for each place: a better one of the neighbourhood replaces it
                    place = first + (c + 1) * width
                    slot = best.shape[0] - 1
                    known = False
                    for s in range(best.shape[0]):
                        if abs(best[s, 3] - place) < 3 * width and best[s, 0] > 0:
                            known = True
                            if votes > best[s, 0]:
                                slot = s
                            else:
                                slot = -1
                            break
                    if slot < 0:
                        continue
                    if known or votes > best[slot, 0]:
                        best[slot, 0] = votes
                        best[slot, 1] = scales[i]
                        best[slot, 2] = bends[k]
                        best[slot, 3] = place
                    while slot > 0 and best[slot, 0] > best[slot - 1, 0]:
                        for q in range(4):
                            best[slot, q], best[slot - 1, q] = best[slot - 1, q], best[slot, q]
                        slot -= 1


@njit(cache=True, nogil=True)
def pair(expected, lamp, lam, lam_lamp, window, partner):
    """Give each detected line the nearest catalogue line of its lamp; each goes to the nearest one."""
    for a in range(expected.size):
        partner[a] = -1
        nearest = window
        for b in range(lam.size):
            distance = abs(lam[b] - expected[a])
            if lam_lamp[b] == lamp[a] and distance <= nearest:
                nearest = distance
                partner[a] = b
    for a in range(expected.size):
        for other in range(expected.size):
            if other != a and partner[a] >= 0 and partner[a] == partner[other]:
                own, its = abs(lam[partner[a]] - expected[a]), abs(lam[partner[a]] - expected[other])
                if its < own or (its == own and other < a):
                    partner[a] = -1


@njit(cache=True, nogil=True)
def _follow(u, lam, partner, order, expected, least_slope):
    """Fit the wavelengths of the pairs; their rms (Angstrom), and the places of all lines to ``expected``.

    NaN if the fit is singular or the wavelengths hardly rise.
    """
    n = 0
    low, high = math.inf, -math.inf
    for a in range(u.size):
        if partner[a] >= 0:
            n += 1
            low, high = min(low, u[a]), max(high, u[a])
    centre, half = 0.5 * (low + high), max(0.5 * (high - low), 1e-9)
    scaled, value, kept = np.empty(n), np.empty(n), np.ones(n, np.bool_)
    n = 0
    for a in range(u.size):
        if partner[a] >= 0:
            scaled[n] = (u[a] - centre) / half
            value[n] = lam[partner[a]]
            n += 1
    coefficients, slope = np.empty(order + 1), np.empty(1)
    square = fit_clipped(scaled, value, order, np.inf, kept, coefficients)
    if not math.isfinite(square):
        return np.nan
    for place in (-1.0, 0.0, 1.0):
        series((place - centre) / half, coefficients, slope)
        if slope[0] / half <= least_slope:
            return np.nan
    for a in range(u.size):
        expected[a] = series((u[a] - centre) / half, coefficients, slope)
    return math.sqrt(square)


@njit(cache=True, nogil=True)
def refine(u, lamp, lam, lam_lamp, start, orders, windows, least_slope, partner):
    """Follow polynomials of rising order with falling tolerance.

    Parameters
    ----------
    u, lamp : float64[n], int64[n]
        Row from -1 to 1, and image, of the detected lines.
    lam, lam_lamp : float64[m], int64[m]
        Catalogue.
    start : float64[4]
        From `vote`.
    orders, windows : int64[k], float64[k]
        Order and tolerance (Angstrom) of each step.
    least_slope : float
        Wavelengths must rise by more (Angstrom per unit of ``u``).
    partner : int64[n], written
        Line of the catalogue, -1 for none.

    Returns
    -------
    float
        Rms of the pairs (Angstrom); inf if it fails, and then there are no partners.
    """
    expected = np.empty(u.size)
    for a in range(u.size):
        expected[a] = start[3] + start[1] * u[a] + start[2] * u[a] * u[a]
    rms = math.inf
    for k in range(orders.size):
        pair(expected, lamp, lam, lam_lamp, windows[k], partner)
        found = 0
        for a in range(u.size):
            found += partner[a] >= 0
        order = min(orders[k], found - 2)
        rms = np.nan
        if order >= 1:
            rms = _follow(u, lam, partner, order, expected, least_slope)
        if math.isnan(rms):
            partner[:] = -1
            return math.inf
    return rms
