# SPDX-License-Identifier: BSD-3-Clause
"""The search for a detection threshold that gives a useful number of sources.

The filtered image, its peaks and their shapes do not depend on the threshold, so they are made once and each
threshold is a look-up in the sorted peak heights. That keeps a search of a hundred thousand steps below a
second.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Pixels
from muse_core.alignment.images.background import Background, fit_background
from muse_core.alignment.sources.detection import (
    Detections,
    StarKernel,
    filter_image,
    find_peaks,
    measure_peaks,
)
from muse_core.framework.spec import ParamValues

NOISE_FLOOR = 5.0  # peaks of the filtered image below so many times its noise are not looked at


class NoShapeSurvivesError(Exception):
    """There are candidates above the threshold, but none of them looks like a point source."""

    def __init__(self, threshold: float, candidates: int) -> None:
        super().__init__(f"none of {candidates} candidates above {threshold:g} passes the shape limits")
        self.threshold = threshold
        self.candidates = candidates


@dataclass(frozen=True)
class DetectionLimits:
    """The user's wishes for a source list."""

    threshold: float = 15.0
    step: float = 0.5
    iterations: int = 100000
    srcmin: int = 5
    srcmax: int = 80
    sharp: tuple[float, float] = (0.2, 1.0)
    round: tuple[float, float] = (-1.0, 1.0)
    bkgignore: float = 0.05
    bkgfraction: float = 0.1
    bpixdistance: float = 5.0

    @classmethod
    def from_parameters(cls, p: ParamValues) -> DetectionLimits:
        """Take them from the parameters of the recipe."""
        return cls(
            threshold=p.threshold,
            step=p.step,
            iterations=p.iterations,
            srcmin=p.srcmin,
            srcmax=p.srcmax,
            sharp=(p.sharpmin, p.sharpmax),
            round=(p.roundmin, p.roundmax),
            bkgignore=p.bkgignore,
            bkgfraction=p.bkgfraction,
            bpixdistance=p.bpixdistance,
        )


@dataclass(frozen=True)
class SearchResult:
    """Sources at the last threshold of the search, and how it went."""

    sources: Detections
    threshold: float
    background: Background
    searches: int
    noise: float  # robust scatter of a pixel, from the filtered image
    wanted: bool  # the number of sources is inside the limits
    candidates: int  # peaks above the threshold, of whatever shape


class PeakList:
    """Peaks of one image, found only as deep as somebody asked for."""

    def __init__(self, image: Floats, kernel: StarKernel, limits: DetectionLimits) -> None:
        self._image = image
        self._kernel = kernel
        self._limits = limits
        self.filtered = filter_image(image, kernel)
        self._level = np.inf
        self._heights: list[float] = []  # of all candidates, ascending
        self._good: list[float] = []  # of those that pass the shape limits, ascending
        self._sources: Detections | None = None

    def _dig(self, threshold: float) -> None:
        if threshold >= self._level:
            return
        # half the level at a time: the next few hundred steps are then look-ups, too
        level = (
            threshold if threshold <= 0 or not np.isfinite(self._level) else min(threshold, self._level / 2.0)
        )
        iy, ix = find_peaks(self.filtered, self._kernel, level)
        self._sources = measure_peaks(
            self._image, self.filtered, self._kernel, iy, ix, self._limits.sharp, self._limits.round
        )
        self._heights = np.sort(self.filtered[iy, ix]).tolist()
        self._good = np.sort(self._sources.flux).tolist()
        self._level = level

    def count(self, threshold: float) -> int:
        """Return the number of sources at ``threshold``."""
        self._dig(threshold)
        return len(self._good) - bisect_left(self._good, threshold)

    def candidates(self, threshold: float) -> int:
        """Return the number of peaks at ``threshold``, of whatever shape."""
        self._dig(threshold)
        return len(self._heights) - bisect_left(self._heights, threshold)

    def count_some(self, threshold: float) -> int:
        """Return the number of sources at ``threshold``; an error if there are candidates, but no source."""
        number = self.count(threshold)
        if number == 0 and self.candidates(threshold):
            raise NoShapeSurvivesError(threshold, self.candidates(threshold))
        return number

    def sources(self, threshold: float) -> Detections:
        """Return the sources at ``threshold`` in raster order."""
        self._dig(threshold)
        if self._sources is None:  # an infinite threshold
            return Detections(*(np.zeros(0),) * 5)
        return self._sources.take(self._sources.flux >= threshold)


def search_threshold(
    count: Callable[[float], int],
    start: float,
    step: float,
    srcmin: int,
    srcmax: int,
    iterations: int,
    lowest: float = 0.0,
) -> tuple[float, int, int]:
    """Step the threshold until ``srcmin <= count(threshold) <= srcmax``.

    At least one search is made. On the way down the search ends when the next threshold would not be
    positive, or would be below ``lowest``; on the way up there is no such end (as 2.8.7, which has no
    ``lowest``). When a threshold comes back the rest of the steps is known to go in circles and is skipped;
    the value is the one that all steps would have ended with.

    Returns
    -------
    threshold : float
    number : int
    searches : int
        Searches really made.
    """
    threshold = start
    searches = 0
    left = max(1, iterations)
    seen: dict[float, int] = {}
    previous = 0
    while True:
        number = count(threshold)
        searches += 1
        left -= 1
        direction = -1 if number < srcmin else (1 if number > srcmax else 0)
        if direction == 0 or left == 0:
            return threshold, number, searches
        following = threshold + direction * step
        if direction < 0 and (following <= 0 or following < lowest):
            return threshold, number, searches
        if following == threshold:  # the step is lost in the rounding: nothing will change any more
            return threshold, number, searches
        if previous and direction != previous:
            if threshold in seen:
                period = seen[threshold] - left
                left %= period
                seen.clear()
                if left == 0:
                    return threshold, number, searches
            else:
                seen[threshold] = left
        previous = direction
        threshold = following


def detect_sources(
    data: Pixels, bad: Flags, kernel: StarKernel, limits: DetectionLimits, *, search_into_noise: bool = True
) -> SearchResult:
    """Find the point sources of an image.

    Parameters
    ----------
    data : float32[ny, nx]
    bad : bool[ny, nx]
    kernel : StarKernel
    limits : DetectionLimits
    search_into_noise : bool
        The defect: the threshold is lowered as far as it takes to find ``srcmin`` sources, and peaks that
        have not the shape of a star end the search. Otherwise the noise is a limit, and if the search ends
        without success the brightest sources above that are taken, ``srcmax`` at most.

    Returns
    -------
    SearchResult
        Its sources are those of the last threshold, also when their number is not as wanted.

    Raises
    ------
    NoShapeSurvivesError
        With the defect only.
    """
    good = ~bad
    background = fit_background(data[good], limits.bkgignore, limits.bkgfraction)
    ny, nx = data.shape
    ny, nx = ny - ny % 2, nx - nx % 2  # odd sizes lose their last row or column, as in 2.8.7
    image = np.where(good[:ny, :nx], data[:ny, :nx], 0).astype(np.float64)
    peaks = PeakList(image, kernel, limits)
    inner = peaks.filtered[good[:ny, :nx] & (peaks.filtered != 0)]
    noise = 1.4826 * float(np.median(np.abs(inner))) / kernel.relative_error if inner.size else 0.0
    start = limits.threshold
    if start <= 0:
        # the level of the sky is zero in the filtered image already: two zero points are mixed, as in 2.8.7
        start = background.median + abs(limits.threshold) * background.mad
    lowest = -np.inf if search_into_noise else NOISE_FLOOR * noise * kernel.relative_error
    threshold, number, searches = search_threshold(
        peaks.count_some if search_into_noise else peaks.count,
        max(start, lowest),
        limits.step,
        limits.srcmin,
        limits.srcmax,
        limits.iterations,
        lowest,
    )
    wanted = limits.srcmin <= number <= limits.srcmax
    sources = peaks.sources(threshold)
    if not wanted and lowest > 0:
        threshold = lowest
        sources = peaks.sources(lowest).brightest(limits.srcmax)
    return SearchResult(
        sources=sources,
        threshold=threshold,
        background=background,
        searches=searches,
        noise=noise,
        wanted=wanted,
        candidates=peaks.candidates(threshold),
    )
