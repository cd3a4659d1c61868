# SPDX-License-Identifier: BSD-3-Clause
"""Pairs of sources that may be the same star, and what each pair of exposures says of its relative offset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.alignment.arrays import Floats, Rows

MAX_ELEMENTS = 400_000  # of the distance matrix made at a time: bounds the memory


@dataclass(frozen=True)
class SourceTable:
    """Sky positions of all sources of all exposures, exposure after exposure.

    ``first[i]:first[i + 1]`` are the rows of exposure i. Degrees, float64.
    """

    ra: Floats
    dec: Floats
    first: Rows

    @classmethod
    def from_lists(cls, positions: Sequence[tuple[Floats, Floats] | Floats]) -> SourceTable:
        """Join the (ra, dec) arrays of each exposure."""
        counts = [len(ra) for ra, _ in positions]
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        join = [np.concatenate([np.asarray(p[k], dtype=np.float64) for p in positions]) for k in (0, 1)]
        return cls(join[0], join[1], first)

    @property
    def nexp(self) -> int:
        """Number of exposures."""
        return self.first.size - 1

    @property
    def exposure(self) -> Rows:
        """Exposure number of each row."""
        return np.repeat(np.arange(self.nexp), np.diff(self.first))


@dataclass(frozen=True)
class PairValues:
    """Relative offsets o_i - o_j that the pairs of exposures ask for; one row per pair with a match.

    ``number`` counts the matches behind a value; ``weight`` is the one of 2.8.7. Degrees of coordinate.
    """

    i: Rows
    j: Rows
    number: Rows
    ra: Floats
    dec: Floats
    weight: Floats


def matched_pairs(
    table: SourceTable, offsets: Floats, radius: float
) -> Iterator[tuple[int, Rows, Rows, Rows]]:
    """Find all pairs of sources of different exposures that lie within ``radius`` after the offsets.

    Every source of one exposure may match several of another: there is no one-to-one rule, as in 2.8.7.

    Yields
    ------
    i : int
        The first exposure; it comes several times if it has very many pairs.
    j : int64[n]
        The second exposure of each pair, ascending.
    a, b : int64[n]
        Rows of the two sources.
    """
    exposure = table.exposure
    shifted = table.dec - offsets[exposure, 1]
    for i in range(table.nexp - 1):
        start, stop = table.first[i], table.first[i + 1]
        if start == stop:
            continue
        for low, high in _exposure_blocks(table, i, int(stop - start)):
            rows = slice(table.first[low], table.first[high])
            other = exposure[rows]
            r_dec = shifted[start:stop, None] - shifted[None, rows]
            a, b = np.nonzero(np.abs(r_dec) < radius)
            r_dec = r_dec[a, b]
            a += start
            b += rows.start
            r_ra = (table.ra[a] - table.ra[b]) - (offsets[i, 0] - offsets[exposure[b], 0])
            middle = np.radians((shifted[a] + shifted[b]) / 2.0)
            near = np.hypot(r_ra * np.cos(middle), r_dec) < radius
            a, b = a[near], b[near]
            order = np.argsort(other[b - rows.start], kind="stable")
            a, b = a[order], b[order]
            yield i, exposure[b], a, b


def _exposure_blocks(table: SourceTable, i: int, nsource: int) -> Iterator[tuple[int, int]]:
    """Split the exposures after i into runs whose distance matrices stay small."""
    low = i + 1
    while low < table.nexp:
        room = table.first[low] + max(1, MAX_ELEMENTS // nsource)
        high = max(low + 1, int(np.searchsorted(table.first, room, side="right")) - 1)
        high = min(high, table.nexp)
        yield low, high
        low = high


def histogram_values(
    table: SourceTable, offsets: Floats, radius: float, nbins: int, *, weighted: bool
) -> PairValues:
    """Relative offsets from the highest bin of a two-dimensional histogram of all coordinate differences.

    Measured against 2.8.7: bins are counted with truncation towards zero, so that the first one is twice as
    wide; ties go to the first bin with the declination as the slow axis; the right ascension is not scaled.
    """
    parts = []
    for i, j, a, b in matched_pairs(table, offsets, radius):
        width = 2.0 * radius / nbins
        bin_ra = np.trunc((table.ra[a] - table.ra[b] + radius) / width)
        bin_dec = np.trunc((table.dec[a] - table.dec[b] + radius) / width)
        inside = (bin_ra >= 0) & (bin_ra < nbins) & (bin_dec >= 0) & (bin_dec < nbins)
        if not inside.any():
            continue
        cell = (bin_dec[inside] * nbins + bin_ra[inside]).astype(np.int64)
        others, which, number = np.unique(j[inside], return_inverse=True, return_counts=True)
        # occupied cells only: the memory does not depend on the number of bins
        cells, height = np.unique(which * nbins**2 + cell, return_counts=True)
        owner = cells // nbins**2
        first = np.searchsorted(owner, np.arange(others.size))
        highest = np.maximum.reduceat(height, first)
        top = np.flatnonzero(height == highest[owner])
        peak = cells[top[np.searchsorted(owner[top], np.arange(others.size))]] % nbins**2
        parts.append(
            (
                np.full(others.size, i),
                others,
                number,
                -radius + (peak % nbins + 0.5) * width,
                -radius + (peak // nbins + 0.5) * width,
                highest.astype(np.float64) if weighted else np.ones(others.size),
            )
        )
    return _joined(parts)


def median_values(
    table: SourceTable, offsets: Floats, radius: float, *, weighted: bool, floor: float = 1e-16
) -> PairValues:
    """Relative offsets from the medians of the coordinate differences of all matched pairs.

    The weight is the number of pairs over the sum of the two sample variances; a single pair counts with the
    square of the radius for each. ``floor`` (deg**2) keeps identical images from an infinite weight.
    """
    parts = []
    for i, j, a, b in matched_pairs(table, offsets, radius):
        if j.size == 0:
            continue
        others, start, number = np.unique(j, return_index=True, return_counts=True)
        d_ra = table.ra[a] - table.ra[b]
        d_dec = table.dec[a] - table.dec[b]
        median_ra = group_median(d_ra, j, start, number)
        median_dec = group_median(d_dec, j, start, number)
        if weighted:
            spread = group_variance(d_ra, start, number, radius) + group_variance(
                d_dec, start, number, radius
            )
            weight = number / np.maximum(spread, floor)
        else:
            weight = np.ones(number.size)
        parts.append((np.full(number.size, i), others, number, median_ra, median_dec, weight))
    return _joined(parts)


def _joined(parts: Sequence[tuple[npt.NDArray[Any], ...]]) -> PairValues:
    if not parts:
        whole, real = np.zeros(0, dtype=np.int64), np.zeros(0)
        return PairValues(whole, whole, whole, real, real, real)
    return PairValues(*(np.concatenate([p[k] for p in parts]) for k in range(6)))


def group_median(values: Floats, group: Rows, start: Rows, number: Rows) -> Floats:
    """Medians of runs of ``values``; run k is ``start[k]:start[k] + number[k]`` with one ``group``."""
    ordered = values[np.lexsort((values, group))]
    upper = ordered[start + number // 2]
    lower = ordered[start + (number - 1) // 2]
    return np.where(number % 2 == 1, upper, (lower + upper) / 2.0)


def group_variance(values: Floats, start: Rows, number: Rows, radius: float) -> Floats:
    """Sample variances of runs of ``values``; ``radius**2`` for runs of one."""
    mean = np.add.reduceat(values, start) / number
    deviation = values - np.repeat(mean, number)
    total = np.add.reduceat(deviation**2, start)
    return np.where(number > 1, total / np.maximum(number - 1, 1), radius**2)
