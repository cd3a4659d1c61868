# SPDX-License-Identifier: BSD-3-Clause
"""Whether a few matches are sound: they are if the sources are bright and no others can be meant.

Positions alone cannot tell. But in a field with one bright star the same star is expected in all exposures,
and that two different ones of equal flux lie where the headers nearly say so is improbable. The measure is
the probability of that: of a source so bright within the distance of the offset, and of fluxes so similar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, pi, sqrt

import numpy as np

from muse_core.alignment.arrays import Floats, Rows
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.offsets.matching import SourceTable, matched_pairs
from muse_core.alignment.offsets.probability import poisson_tail
from muse_core.alignment.sources.source_list import SourceList

MOST_MATCHES = 6  # with more the positions alone are enough
SIGNIFICANT = 10.0  # smallest peak in units of the noise
FLUX_RANGE = log(100.0)  # over which unrelated sources are spread
SAME_FLUX = 0.01  # fluxes agree by chance so often, at least
UNKNOWN_FLUX = 0.5
FLUX_SCATTER = 0.35  # of the logarithm of the flux of one star in two exposures
POINTING_ARCSEC = {"WFM": 1.0, "NFM": 0.25}
SAME_FIELD = 10.0  # odds that exposures of one field show the same star, before anything is measured
BRIGHTER = 1.5  # a source so much brighter than a matched one must be matched, too
COMPARABLE = 0.02  # sources fainter than that, relative to the matched ones, may be artefacts of these
DEEPER = 2.0  # a source so far above the threshold of the other exposure must be seen there
EDGE_PIX = 12.0  # from the edge of an image a source may be missing


@dataclass(frozen=True)
class FewMatches:
    """The few matches of a pair of exposures.

    ``probability`` is that of chance; ``error`` is the centroid error of the offset in arcsec per coordinate.
    """

    i: int
    j: int
    probability: float
    error: float


def judge_few(
    table: SourceTable,
    shifts: Floats,
    fields: Sequence[FieldInfo],
    sources: Sequence[SourceList],
    close: float,
    areas: Floats,
) -> list[FewMatches]:
    """Judge the pairs of exposures with few matches.

    Parameters
    ----------
    table : SourceTable
    shifts : float64[nexp, 2]
        Of the solution, degrees.
    fields, sources : sequences of FieldInfo and SourceList
    close : float
        Largest residual of a match, degrees.
    areas : float64[nexp]
        Solid angle of each exposure, square degrees.
    """
    out = []
    for i, j, a, b in matched_pairs(table, shifts, close):
        for other in np.unique(j):
            mine, theirs = a[j == other] - table.first[i], b[j == other] - table.first[other]
            if mine.size <= MOST_MATCHES and mine.size == np.unique(mine).size == np.unique(theirs).size:
                distance = _shift(table, shifts, i, int(other))
                area = max(min(areas[i], areas[other]), 1e-12)
                pair = _Pair(fields[i], fields[other], sources[i], sources[other], mine, theirs)
                chance = pair.chance(distance, close, area)
                out.append(FewMatches(i, int(other), chance, pair.error()))
    return out


def _shift(table: SourceTable, shifts: Floats, i: int, j: int) -> float:
    """Size of the relative offset of two exposures on the sky, degrees."""
    cosine = np.cos(np.radians(float(np.median(table.dec))))
    return float(np.hypot((shifts[i, 0] - shifts[j, 0]) * cosine, shifts[i, 1] - shifts[j, 1]))


@dataclass(frozen=True)
class _Pair:
    one: FieldInfo
    other: FieldInfo
    mine: SourceList
    theirs: SourceList
    a: Rows
    b: Rows

    def chance(self, distance: float, close: float, area: float) -> float:
        """Probability that unrelated sources look as much alike; 1 where something speaks against them."""
        for sources, matched in ((self.mine, self.a), (self.theirs, self.b)):
            if np.any(
                sources.significance[matched] < SIGNIFICANT
            ):  # NaN of a catalogue: its sources are real
                return 1.0
        one, other = self.mine.flux, self.theirs.flux
        if _contradicted(self.mine, self.a, self.other, self.theirs) or _contradicted(
            self.theirs, self.b, self.one, self.mine
        ):
            return 1.0
        bright_mine = np.count_nonzero(~(one < 0.5 * np.min(one[self.a])))
        bright_theirs = np.count_nonzero(~(other < 0.5 * np.min(other[self.b])))
        expected = bright_mine * bright_theirs * pi * close**2 / area
        by_position = min(1.0, max(1.0, (distance / close) ** 2) * poisson_tail(expected, self.a.size))
        difference = self._flux_difference()
        by_flux = (
            UNKNOWN_FLUX if difference is None else min(1.0, max(SAME_FLUX, 2.0 * difference / FLUX_RANGE))
        )
        product = by_position * by_flux
        # two independent probabilities: how often their product is as small as this
        unlikely = min(1.0, product * (1.0 - log(max(product, 1e-300))))
        density = bright_mine * bright_theirs / area
        return min(unlikely, self._wrong_by_prior(distance, density, difference))

    def _wrong_by_prior(self, distance: float, density: float, difference: float | None) -> float:
        """Probability that two sources are not the same, from what is known of pointing errors and fluxes.

        Telescopes point to about an arcsecond, with a wide tail, and transparency and seeing change fluxes by
        some ten per cent; an unrelated source may be anywhere and have any flux.
        """
        scale = POINTING_ARCSEC[self.one.family] / 3600.0
        odds = SAME_FIELD / (density * pi * scale**2 * (1.0 + (distance / scale) ** 2) ** 2)
        if difference is not None:
            expected = exp(-0.5 * (difference / FLUX_SCATTER) ** 2) / (FLUX_SCATTER * sqrt(2.0 * pi))
            odds *= expected * FLUX_RANGE
        return 1.0 / (1.0 + odds)

    def _flux_difference(self) -> float | None:
        """Largest difference of the logarithms of matched fluxes; None if they cannot be compared."""
        if self.mine.origin != "detection" or self.theirs.origin != "detection":
            return None
        worst = 0.0
        for a, b in zip(self.a, self.b, strict=True):
            flux, partner = self.mine.brightness[a], self.theirs.brightness[b]
            if not (flux > 0 and partner > 0):
                flux, partner = self.mine.flux[a], self.theirs.flux[b]
            worst = max(worst, abs(log(flux / partner)))
        return worst

    def error(self) -> float:
        """Centroid error of the relative offset, arcsec per coordinate."""
        floor = 0.02 * self.one.pixel_arcsec  # pixel sampling
        mine = np.nan_to_num(self.mine.errors[self.a], nan=self.one.pixel_arcsec)
        theirs = np.nan_to_num(self.theirs.errors[self.b], nan=0.0)
        variance = 1.0 / np.sum(1.0 / (mine**2 + theirs**2 + floor**2))
        return float(np.sqrt(variance))


def _contradicted(sources: SourceList, matched: Rows, info: FieldInfo, partner: SourceList) -> bool:
    """Tell whether sources that should be seen in the other image have no match: a brighter one, or too many.

    Parameters
    ----------
    sources : SourceList
        Of one exposure.
    matched : int64[k]
        Those with a match.
    info, partner : FieldInfo and SourceList
        The other exposure and its sources.
    """
    flux = sources.flux
    with np.errstate(invalid="ignore"):
        brighter = flux > BRIGHTER * np.min(flux[matched])
        comparable = (flux > COMPARABLE * np.max(flux[matched])) & (flux > DEEPER * partner.threshold)
        comparable &= sources.significance > SIGNIFICANT
        x, y = info.wcs.pixel(sources.ra, sources.dec)
        ny, nx = info.shape
        missing = (x > EDGE_PIX) & (x < nx - EDGE_PIX) & (y > EDGE_PIX) & (y < ny - EDGE_PIX)
    missing[matched] = False
    return bool(np.any(missing & brighter) or np.count_nonzero(missing & comparable) > matched.size)
