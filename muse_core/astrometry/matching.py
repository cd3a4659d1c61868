# SPDX-License-Identifier: BSD-3-Clause
"""Which star of the catalogue is which star of the image, whatever the field's rotation and offset.

Each pair of bright stars of the image and each pair of the catalogue of about the same distance gives a
rotation, a scale and an offset; the one with which most stars have a partner is refined with all of them. A
match must be better than chance, so the search ends with an answer or with a reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
BRIGHT = 14
"""Stars of either list from which pairs are made; the catalogue gives half as many more."""
SCALE_RANGE = 0.12
"""Relative difference of the scale from the nominal one that is looked at."""
SHORTEST = 8.0
"""Pixels between the stars of a pair."""
CHANCE = 1e-3
SMALLEST_RADIUS = 0.3
"""Pixels; positions are hardly better."""
FEWEST = 4
CANDIDATES = 200_000


class NoMatchError(ValueError):
    """No part of the catalogue looks like the image; the text says what was tried."""


@dataclass(frozen=True)
class Match:
    """Pairs of stars.

    Parameters
    ----------
    image, catalogue : int64[n]
        numbers of the partners
    rotation_deg : float
        of the catalogue against the image
    scale : float
        of the catalogue against the image
    """

    image: npt.NDArray[np.int64]
    catalogue: npt.NDArray[np.int64]
    rotation_deg: float
    scale: float

    def __len__(self) -> int:
        return int(self.image.size)


def match_stars(
    image: Points, catalogue: Points, radius: float, largest_rotation: float | None = None
) -> Match:
    """Find the partners of stars.

    Parameters
    ----------
    image : float64[n, 2]
        positions, brightest first
    catalogue : float64[m, 2]
        positions in nominal pixels of the same handedness, brightest first
    radius : float
        largest distance of partners [pixel]
    largest_rotation : float or None
        degrees that the fields may be turned against each other; None: any

    Raises
    ------
    NoMatchError
    """
    if len(image) < FEWEST or len(catalogue) < FEWEST:
        raise NoMatchError(
            f"{len(image)} stars in the image, {len(catalogue)} in the catalogue: {FEWEST} are needed"
        )
    transforms = _candidates(image, catalogue, largest_rotation)
    if not len(transforms):
        raise NoMatchError("no pair of stars of the image has the distance of a pair of the catalogue")
    best = _best(transforms, image, catalogue, radius)
    pairs = best
    for _ in range(5):  # with all partners, and all terms of a linear transformation
        fitted = _affine(image[pairs[0]], catalogue[pairs[1]])
        again = _partners(_apply(fitted, image), catalogue, radius)
        if len(again[0]) < 3 or (len(again[0]) == len(pairs[0]) and (again[1] == pairs[1]).all()):
            break
        pairs = again
    # chance fills the radius; partners that are right are much nearer
    fitted = _affine(image[pairs[0]], catalogue[pairs[1]])
    off = np.hypot(*(_apply(fitted, image[pairs[0]]) - catalogue[pairs[1]]).T)
    effective = min(max(3.0 * float(np.median(off)), SMALLEST_RADIUS), radius)
    number = int(np.count_nonzero(off <= effective))
    expected = _chance_of_one(catalogue, effective)
    if number < FEWEST or len(transforms) * _tail(len(image), number, expected) > CHANCE:
        raise NoMatchError(
            f"at most {len(pairs[0])} of {len(image)} stars of the image have a partner within {radius:g} "
            f"pixels, which is chance among {len(catalogue)} stars of the catalogue"
        )
    matrix = _affine(image[pairs[0]], catalogue[pairs[1]])[:, :2]
    rotation = math.degrees(math.atan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    return Match(*pairs, rotation, math.sqrt(abs(float(np.linalg.det(matrix)))))


def _candidates(image: Points, catalogue: Points, largest_rotation: float | None) -> Points:
    """Return rotations with scales, and offsets, that take one pair of stars to another, float64[n, 4]."""
    a = (image[:BRIGHT, 0] + 1j * image[:BRIGHT, 1]).astype(complex)
    b = catalogue[: BRIGHT * 3 // 2]
    b = b[:, 0] + 1j * b[:, 1]
    i, j = np.triu_indices(a.size, 1)
    k, m = np.nonzero(~np.eye(b.size, dtype=bool))
    first, second = a[j] - a[i], b[m] - b[k]
    far = np.abs(first) > SHORTEST
    i, first = i[far], first[far]
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = second[None, :] / first[:, None]
    good = np.abs(np.abs(turn) - 1.0) < SCALE_RANGE
    if largest_rotation is not None:
        good &= np.abs(np.degrees(np.angle(turn))) <= largest_rotation
    n, q = np.nonzero(good)
    n, q = n[:CANDIDATES], q[:CANDIDATES]
    factor = turn[n, q]
    offset = b[k[q]] - factor * a[i[n]]
    return np.stack([factor.real, factor.imag, offset.real, offset.imag], axis=1)


def _best(
    transforms: Points, image: Points, catalogue: Points, radius: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the partners that the best of some transformations gives."""
    from scipy.spatial import cKDTree

    tree = cKDTree(catalogue)
    bright = image[: 2 * BRIGHT]
    counts = np.zeros(len(transforms), np.int64)
    errors = np.zeros(len(transforms))
    for start in range(0, len(transforms), 4096):
        part = transforms[start : start + 4096]
        c, s, u, v = (part[:, k, None] for k in range(4))
        x = c * bright[:, 0] - s * bright[:, 1] + u
        y = s * bright[:, 0] + c * bright[:, 1] + v
        distance, _ = tree.query(np.stack([x, y], axis=-1), distance_upper_bound=2.0 * radius)
        near = np.isfinite(distance)
        counts[start : start + len(part)] = near.sum(axis=1)
        errors[start : start + len(part)] = np.where(near, distance, 0.0).sum(axis=1)
    order = np.lexsort((errors / np.maximum(counts, 1), -counts))
    best: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
    for number in order[:20]:
        c, s, u, v = transforms[number]
        pairs = _partners(_apply(np.array([[c, -s, u], [s, c, v]]), image), catalogue, 2.0 * radius)
        if best is None or len(pairs[0]) > len(best[0]):
            best = pairs
    if best is None or len(best[0]) < 3:
        raise NoMatchError("no transformation gives three stars a partner")
    return best


def _apply(transform: Points, points: Points) -> Points:
    return points @ transform[:, :2].T + transform[:, 2]


def _affine(points: Points, targets: Points) -> Points:
    """Fit a linear transformation, float64[2, 3]."""
    design = np.column_stack([points, np.ones(len(points))])
    return np.asarray(np.linalg.lstsq(design, targets, rcond=None)[0].T, np.float64)


def _partners(
    points: Points, catalogue: Points, radius: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return pairs of stars that are each other's nearest, within a radius."""
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(catalogue).query(points, distance_upper_bound=radius)
    found = np.flatnonzero(np.isfinite(distance))
    order = found[np.argsort(distance[found], kind="stable")]
    _, first = np.unique(nearest[order], return_index=True)
    image = np.sort(order[first])
    return image.astype(np.int64), nearest[image].astype(np.int64)


def _chance_of_one(catalogue: Points, radius: float) -> float:
    """Return the probability that some place in the field has a star of the catalogue within a radius."""
    area = max(float(np.ptp(catalogue[:, 0]) * np.ptp(catalogue[:, 1])), 1.0)
    return 1.0 - math.exp(-len(catalogue) * math.pi * radius**2 / area)


def _tail(trials: int, number: int, chance: float) -> float:
    """Return the probability that all but two of `number` of `trials` stars have a partner by chance.

    Two stars always have one: they made the transformation.
    """
    from scipy.stats import binom

    return float(binom.sf(number - 3, max(trials - 2, 1), min(chance, 1.0)))
