# SPDX-License-Identifier: BSD-3-Clause
"""Where the slices are in the middle rows of a lamp flat: the first guess of the traces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.detector.tables import NSLICE
from muse_core.framework.errors import InputError

Profile = npt.NDArray[np.float32]
NARROWEST, WIDEST = 73, 83  # pixels of the first slice (measured against 2.8.7: 72 and 84 are refused)
STEP = 1.2  # by which the limit is lowered when slices are missing
LOWEST = 0.02  # fraction of the median down to which slices are looked for
HALF = 55  # columns on each side of the middle of a slice that its cut-out holds


@dataclass(frozen=True)
class FirstGuess:
    """Slices in the middle rows.

    Attributes
    ----------
    first, last : int64[n]
        First bright pixel and first dark one after it, of each run, from 0.
    fraction : float
        Of the median of the profile, above which pixels are bright.
    """

    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    fraction: float

    @property
    def middle(self) -> npt.NDArray[np.int64]:
        """Middle column of the cut-out of each slice, from 0."""
        return (self.first + self.last) // 2


def mean_of_rows(image: npt.NDArray[np.float32]) -> Profile:
    """Mean of all rows (float32[ny, nx]), in single precision and in their order (as 2.8.7)."""
    total = np.zeros(image.shape[1], np.float32)
    for row in image:
        total += row
    total /= np.float32(image.shape[0])
    return total


def middle_profile(image: npt.NDArray[np.float32], nsum: int) -> npt.NDArray[np.float64]:
    """The brighter of the relative profiles below and above the middle row.

    Parameters
    ----------
    image : float32[ny, nx]
        Combined flat, flagged pixels interpolated.
    nsum : int
        Rows of both together.
    """
    middle = image.shape[0] // 2 - 1  # row ny / 2, counted from 1
    half = max(nsum // 2, 1)
    below, above = image[max(middle - half, 0) : middle], image[middle + 1 : middle + 1 + half]
    profiles = [mean_of_rows(part).astype(np.float64) for part in (below, above)]
    return np.maximum(*(profile / profile.mean() for profile in profiles))


def bright_runs(profile: npt.NDArray[np.float64], limit: float) -> npt.NDArray[np.int64]:
    """First pixel and first one behind, of runs above a limit that end inside of the image (int64[n, 2])."""
    bright = np.concatenate([[False], profile > limit, [False]])
    edges = np.flatnonzero(bright[1:] != bright[:-1]).reshape(-1, 2)
    return edges[(edges[:, 0] > 0) & (edges[:, 1] < profile.size)]


def find_slices(image: npt.NDArray[np.float32], nsum: int, edgefrac: float) -> FirstGuess:
    """Find the 48 slices of a lamp flat.

    Parameters
    ----------
    image : float32[ny, nx]
        Combined flat, flagged pixels interpolated.
    nsum : int
    edgefrac : float
        Fraction of the median that is bright; lowered step by step when slices are missing.

    Raises
    ------
    InputError
        If the first slice has no width of a slice, or there are not 48 of them; it tells which are missing.
    """
    profile = middle_profile(image, nsum)
    median = float(np.median(profile))
    fraction = edgefrac
    best = bright_runs(profile, fraction * median)
    _check_first(best)
    while len(best) != NSLICE and fraction > LOWEST:
        fraction /= STEP
        runs = bright_runs(profile, fraction * median)
        if len(runs) == NSLICE or _likely(runs) > _likely(best):
            best = runs
    if len(best) != NSLICE:
        raise InputError(
            "",
            "slices in the middle rows of the flat",
            expected=f"{NSLICE}",
            found=f"{len(best)}{_missing(best)}",
            remedy="A slice without light cannot be traced; use other flats, or trace=false.",
        )
    return FirstGuess(best[:, 0], best[:, 1], fraction)


def _check_first(runs: npt.NDArray[np.int64]) -> None:
    width = int(runs[0, 1] - runs[0, 0]) if len(runs) else 0
    if not NARROWEST <= width <= WIDEST:
        raise InputError(
            "",
            "first slice of the flat",
            expected=f"{NARROWEST} to {WIDEST} pixels wide",
            found=width,
            remedy="Are these lamp flats? Else change edgefrac.",
        )


def _likely(runs: npt.NDArray[np.int64]) -> int:
    """Number of runs that have the width of a slice."""
    widths = runs[:, 1] - runs[:, 0]
    return int(np.count_nonzero((widths >= NARROWEST - 5) & (widths <= WIDEST + 5)))


def _missing(runs: npt.NDArray[np.int64]) -> str:
    """Tell where a slice is missing: a gap of more than one slice and a half."""
    middles = 0.5 * (runs[:, 0] + runs[:, 1])
    steps = np.diff(middles)
    if not steps.size:
        return ""
    pitch = float(np.median(steps))
    gaps = [f"{middles[i]:.0f} and {middles[i + 1]:.0f}" for i in np.flatnonzero(steps > 1.5 * pitch)]
    return f"; a gap between columns {', '.join(gaps)}" if gaps else ""
