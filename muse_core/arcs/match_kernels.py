# SPDX-License-Identifier: BSD-3-Clause
"""Votes and pairs of the identification of arc lines."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def vote(u, lamp, lam, lam_lamp, scales, bends, first, width, counts, best):
    """Count pairs in bins of the wavelength of the middle, for each dispersion and bend.

    ``u`` (float64[n]): row from -1 to 1; ``best`` (float64[m, 4]): count, scale, bend, wavelength.
    """
    for i in range(scales.size):
        for k in range(bends.size):
            counts[:] = 0
            for a in range(u.size):
                moved = scales[i] * u[a] + bends[k] * u[a] * u[a]
                for b in range(lam.size):
                    if lamp[a] == lam_lamp[b]:
                        bin_number = int((lam[b] - moved - first) / width)
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
