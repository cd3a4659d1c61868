# SPDX-License-Identifier: BSD-3-Clause
"""Windows spread over a part of an image, in which noise and levels are sampled.

CPL draws their centres at random, but keeps them apart. The C recipes seed its generator with constants, so
the windows are always the same ones; with the generator of the GNU C library, repeated here, they are ours.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit

LARGEST = 2147483647
STATE = 31  # words of the generator
LAG = 3
WARM_UP = 310

Centres = npt.NDArray[np.int64]


class LibraryRandom:
    """The numbers of ``srand`` and ``rand`` of the GNU C library (additive feedback of 31 words).

    >>> numbers = LibraryRandom(1)
    >>> numbers.next(), numbers.next()
    (1804289383, 846930886)
    """

    def __init__(self, seed: int = 1) -> None:
        words = [seed]
        for _ in range(STATE - 1):
            words.append(16807 * words[-1] % LARGEST)
        words += words[:LAG]
        for _ in range(WARM_UP):
            words.append((words[-STATE] + words[-LAG]) & 0xFFFFFFFF)
        self._words = words[-STATE:]

    def next(self) -> int:
        """Return a number from 0 to 2147483647."""
        word = (self._words[0] + self._words[-LAG]) & 0xFFFFFFFF
        self._words = [*self._words[1:], word]
        return word >> 1


def spread_centres(zone: tuple[int, int, int, int], count: int, numbers: LibraryRandom) -> Centres:
    """Centres of windows spread over a zone.

    Measured against 2.8.7: candidates are drawn in a rectangle 10 pixels inside the zone and taken if they
    are far enough from those taken before, and from the corner (0, 0) of the image.

    Parameters
    ----------
    zone : tuple of int
        First and last column, first and last row, from 1; more than 20 pixels wide and high.
    count : int
    numbers : LibraryRandom

    Returns
    -------
    int64[count, 2]
        x and y, from 1.
    """
    x0, x1, y0, y1 = zone
    width, height = x1 - x0 - 20, y1 - y0 - 20
    apart = np.sqrt(0.5) * width * height / (count + 2)
    taken = np.zeros((count + 1, 2))
    found = 0
    while found < count:
        x = x0 + 10 + numbers.next() / LARGEST * width
        y = y0 + 10 + numbers.next() / LARGEST * height
        before = taken[: found + 1]
        if ((before[:, 0] - x) ** 2 + (before[:, 1] - y) ** 2 >= apart).all():
            found += 1
            taken[found] = x, y
    return taken[1:].astype(np.int64)


@cache
def seeded_centres(zone: tuple[int, int, int, int], count: int, seed: int) -> Centres:
    """`spread_centres` with a fresh generator; what is asked for again is not drawn again."""
    return spread_centres(zone, count, LibraryRandom(seed))


@cache
def centres_of_run(zone: tuple[int, int, int, int], count: int, number: int) -> Centres:
    """Centres that a run draws from one seed (1) after it has drawn as many ``number`` times before."""
    numbers = LibraryRandom(1)
    for _ in range(number):
        spread_centres(zone, count, numbers)
    return spread_centres(zone, count, numbers)


@njit(cache=True, nogil=True)
def window_means(data: np.ndarray, dq: np.ndarray, centres: np.ndarray, half: int) -> np.ndarray:
    """Mean of the unflagged pixels in square windows; NaN where there are none.

    Parameters
    ----------
    data : float32[ny, nx]
    dq : int32[ny, nx]
    centres : int64[n, 2]
        x and y, from 1.
    half : int
        Windows are ``2 * half + 1`` pixels wide.

    Returns
    -------
    float64[n]
    """
    out = np.empty(centres.shape[0])
    for i in range(centres.shape[0]):
        total = 0.0
        good = 0
        for y in range(centres[i, 1] - 1 - half, centres[i, 1] + half):
            for x in range(centres[i, 0] - 1 - half, centres[i, 0] + half):
                if dq[y, x] == 0:
                    total += np.float64(data[y, x])
                    good += 1
        out[i] = total / good if good else np.nan
    return out
