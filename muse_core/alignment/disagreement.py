# SPDX-License-Identifier: BSD-3-Clause
"""Whether exposures that are about to be combined lie on each other, by their own stars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Pixels, Rows
from muse_core.alignment.offsets.patterns import PointPattern, match_patterns
from muse_core.alignment.sources.detection import Detections, make_kernel
from muse_core.alignment.sources.threshold_search import DetectionLimits, detect_sources

FWHM_PIX = 4.0
BRIGHTEST = 30
LARGEST_ARCSEC = {"WFM": 6.0, "NFM": 1.5}  # larger errors of pointing are not searched for
SEEING_PART = 1.0 / 3.0
TOLERANCE_PIX = 1.5
SIGNIFICANT = 15.0  # peaks over the noise
SIMILAR = 2.0  # largest ratio of the fluxes of one star
LEAST_PIXELS = 24  # of an image side


@dataclass(frozen=True)
class Disagreement:
    """How far the stars of an exposure lie from those of another one, in arcsec on the sky."""

    distance: float
    seeing: float
    stars: int


def measure_disagreement(one: Pixels, other: Pixels, step_arcsec: float, mode: str) -> Disagreement | None:
    """Compare the bright stars of two images on one grid; None if they tell nothing.

    Parameters
    ----------
    one, other : float32[ny, nx]
        NaN where empty.
    step_arcsec : float
        Pixel size.
    mode : {"WFM", "NFM"}
    """
    mine, theirs = _bright_stars(one), _bright_stars(other)
    if not len(mine) or not len(theirs):
        return None
    match = match_patterns(
        _pattern(mine),
        _pattern(theirs),
        tolerance=TOLERANCE_PIX,
        largest_turn=0.0,
        largest_shift=LARGEST_ARCSEC[mode] / step_arcsec,
    )
    if match is None:
        return None
    shift = match.dx, match.dy
    a, _ = _pairs(mine, theirs, shift)
    still, others = _pairs(mine, theirs, (0.0, 0.0))
    if still.size >= max(a.size, 1):  # of few stars one may have the place of another one
        a = still
        shift = (
            float(np.median(mine.x[still] - theirs.x[others])),
            float(np.median(mine.y[still] - theirs.y[others])),
        )
    # a star without its like may be outside of the other image; if most have none, the match means nothing
    if a.size < 1 or (a.size < 3 and a.size < 0.5 * min(len(mine), len(theirs))):
        return None
    seeing = float(np.median([_width(one, *place) for place in zip(mine.x[a], mine.y[a], strict=True)]))
    return Disagreement(float(np.hypot(*shift)) * step_arcsec, seeing * step_arcsec, int(a.size))


def _pairs(mine: Detections, theirs: Detections, shift: tuple[float, float]) -> tuple[Rows, Rows]:
    """Return the numbers of stars of two images that lie on each other when the second one is moved."""
    distance2 = (mine.x[:, None] - theirs.x - shift[0]) ** 2 + (mine.y[:, None] - theirs.y - shift[1]) ** 2
    a, b = np.nonzero(distance2 < TOLERANCE_PIX**2)
    ratio = mine.flux[a] / theirs.flux[b]
    similar = (ratio < SIMILAR) & (ratio > 1.0 / SIMILAR)
    return a[similar], b[similar]


def disagreements(
    images: Sequence[Pixels], numbers: Sequence[int | str], step_arcsec: float, mode: str
) -> tuple[list[str], int]:
    """Tell of exposures whose stars lie more than a third of the seeing beside those of the first one.

    Parameters
    ----------
    images : sequence of float32[ny, nx]
        Of the exposures, on one grid.
    numbers : sequence of int
        Their numbers, for the message.

    Returns
    -------
    A text for each pair that disagrees, and the number of pairs that could be compared.
    """
    texts: list[str] = []
    compared = 0
    for n, image in enumerate(images[1:], 1):
        for k in range(n):  # the first one that shows the same stars
            found = measure_disagreement(images[k], image, step_arcsec, mode)
            if found is None:
                continue
            compared += 1
            if found.distance > SEEING_PART * found.seeing:
                texts.append(
                    f"exposures {numbers[k]} and {numbers[n]} are not aligned: the stars that they share "
                    f"({found.stars}) disagree by {found.distance:.2f} arcsec, with a seeing of "
                    f"{found.seeing:.2f} arcsec"
                )
            break
    return texts, compared


def _bright_stars(image: Pixels) -> Detections:
    bad = ~np.isfinite(image)
    nothing = Detections(*(np.zeros(0),) * 5)
    if min(image.shape) < LEAST_PIXELS or bad.all():
        return nothing
    level = np.median(image[~bad])
    flat = np.where(bad, level, image).astype(np.float32)
    kernel = make_kernel(FWHM_PIX)
    limits = DetectionLimits(threshold=1e-300, iterations=1, srcmin=1, srcmax=10 * BRIGHTEST)
    result = detect_sources(flat, np.zeros_like(bad), kernel, limits, search_into_noise=False)
    found = result.sources.take(result.sources.flux > SIGNIFICANT * result.noise * kernel.relative_error)
    inside = [not _near_empty(bad, x, y) for x, y in zip(found.x, found.y, strict=True)]
    return found.take(np.array(inside, dtype=bool)).brightest(BRIGHTEST)


def _near_empty(bad: Flags, x: float, y: float) -> bool:
    """Tell whether an empty pixel is within two pixels of a star."""
    ix, iy = round(float(x)), round(float(y))
    return bool(bad[max(0, iy - 2) : iy + 3, max(0, ix - 2) : ix + 3].any())


def _pattern(stars: Detections) -> PointPattern:
    return PointPattern(stars.x, stars.y, stars.flux, (0.0, 0.0))


def _width(image: Pixels, x: float, y: float) -> float:
    """Full width at half maximum of a star in pixels, from the area above half of its height."""
    ix, iy = round(float(x)), round(float(y))
    cut: Floats = image[max(0, iy - 10) : iy + 11, max(0, ix - 10) : ix + 11].astype(np.float64)
    near = image[max(0, iy - 2) : iy + 3, max(0, ix - 2) : ix + 3]
    peak, level = float(np.nanmax(near)), float(np.nanmedian(cut))
    with np.errstate(invalid="ignore"):
        area = np.count_nonzero(cut > (peak + level) / 2.0)
    return float(2.0 * np.sqrt(area / np.pi))
