# SPDX-License-Identifier: BSD-3-Clause
"""Quality control of a cube: sources and their widths in its middle plane (ESO QC SCIPOST ...).

Detection and widths follow the C pipeline 2.8.7, established by comparing with its products and by
calling the detection and width functions of the CPL library (NDET the same in 91 of 91 cubes, positions in
90; what differed were flagged values that the resampler "nearest" keeps, `nearest_flagged_in_qc`).  Voxels
without data count as zero there, and so they do here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.header_values import single_precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from muse_core.resampling.grid import OutputGrid

    Card = tuple[str, object, str]

#: detection thresholds in units of the mean absolute deviation, tried in this order
THRESHOLDS = (5.0, 4.0, 3.0)
#: with fewer sources than this the median width is not given (0 is written)
SOURCES_FOR_MEDIAN = 3


@dataclass(frozen=True)
class SourceWidths:
    """Sources of one plane; positions are 1-based pixels, widths are in pixels (-1: not measured)."""

    threshold: float
    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    width_x: npt.NDArray[np.float64]
    width_y: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Sources whose width was measured along both axes."""
        return (self.width_x > 0.0) & (self.width_y > 0.0)


def quality_plane(nz: int) -> int:
    """Index (from 0) of the plane that is examined."""
    return nz // 2


def source_mask(plane: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.bool_]:
    """Pixels above the median by ``threshold`` mean absolute deviations, opened with a 3 x 3 box.

    The outermost pixels of the image never belong to a source.
    """
    level = np.median(plane)
    deviation = np.mean(np.abs(plane - level))
    mask = opened_mask(plane > level + threshold * deviation)
    mask[[0, -1], :] = False
    mask[:, [0, -1]] = False
    return mask


def opened_mask(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Keep what a 3 x 3 box inside the mask covers (nothing is set outside of the image)."""
    # in numpy: the import of scipy.ndimage would cost more than all of this module's work
    for combine in (np.logical_and, np.logical_or):
        for _ in range(2):  # along x, then along y
            padded = np.pad(mask, ((0, 0), (1, 1)))
            mask = combine.reduce([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]]).T
    return mask


def connected_pixels(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """Groups of pixels that touch along an edge: flat indices in order, groups in order of their first pixel.

    >>> connected_pixels(np.array([[1, 0, 1], [1, 0, 0]], dtype=bool))
    [array([0, 3]), array([2])]
    """
    width = mask.shape[1] + 1  # a column between the rows, so that their ends do not touch
    pixels = np.flatnonzero(np.pad(mask, ((0, 0), (0, 1)))).tolist()
    left = set(pixels)
    groups = []
    for first in pixels:
        if first not in left:
            continue
        left.remove(first)
        group, edge = [], [first]
        while edge:
            pixel = edge.pop()
            group.append(pixel)
            touching = left.intersection((pixel - 1, pixel + 1, pixel - width, pixel + width))
            left -= touching
            edge += touching
        iy, ix = np.divmod(np.sort(np.array(group, dtype=np.int64)), width)
        groups.append(iy * mask.shape[1] + ix)
    return groups


def detect_sources(plane: npt.NDArray[np.float64], threshold: float) -> tuple[list[int], list[int]]:
    """Flux-weighted centres of the groups of pixels in the mask, rounded to 1-based pixels."""
    xs: list[int] = []
    ys: list[int] = []
    for pixels in connected_pixels(source_mask(plane, threshold)):
        iy, ix = np.divmod(pixels, plane.shape[1])
        weight = plane[iy, ix]
        total = weight.sum()
        if total == 0.0:
            continue
        for centres, index in ((xs, ix), (ys, iy)):
            centres.append(int(np.floor(np.sum(index * weight) / total + 1.5)))
    return xs, ys


def local_background(profile: npt.NDArray[np.float64], centre: int) -> float | None:
    """Mean level of the profile's feet left and right of ``centre``.

    The profile is smoothed over three pixels (its ends repeated) and followed downhill from the centre on
    both sides. Where the centre is not the top, one walk starts from its higher neighbour (the right one if
    both are). Established with the CPL library: the same widths in 20000 of 20000 random profiles.
    """
    if not 0 < centre < profile.size - 1:
        return None
    padded = np.pad(profile, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3.0
    left = right = centre
    if smooth[centre + 1] > smooth[centre]:
        right += 1
    elif smooth[centre - 1] > smooth[centre]:
        left -= 1
    while left > 0 and smooth[left - 1] < smooth[left]:
        left -= 1
    while right + 1 < profile.size and smooth[right + 1] < smooth[right]:
        right += 1
    return 0.5 * (smooth[left] + smooth[right])


def profile_width(profile: npt.NDArray[np.float64], centre: int) -> float:
    """Full width at half maximum of a profile about one of its pixels, in pixels; -1 if it has none.

    Half maximum lies half-way between the pixel ``centre``, which must be positive, and the local
    background; the crossings are interpolated linearly.

    >>> profile_width(np.array([0.0, 0.0, 4.0, 8.0, 4.0, 0.0, 0.0]), 3)
    2.0
    """
    background = local_background(profile, centre) if profile.size >= 5 else None
    if background is None or not profile[centre] > 0.0:
        return -1.0
    half = 0.5 * (profile[centre] + background)
    if not profile[centre] > half:
        return -1.0
    width = 0.0
    for step in (-1, 1):
        i = centre
        while profile[i] > half:
            i += step
            if not 0 <= i < profile.size:
                return -1.0
        inner, outer = profile[i - step], profile[i]
        width += abs(i - step - centre) + (inner - half) / (inner - outer)
    return float(width)


def measure_sources(plane: npt.ArrayLike) -> SourceWidths:
    """Find the sources of a plane, at a lower threshold if there are none at 5, and measure them."""
    values = np.nan_to_num(np.asarray(plane, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    xs: list[int] = []
    ys: list[int] = []
    threshold = THRESHOLDS[0]
    if values.size:
        for threshold in THRESHOLDS:
            xs, ys = detect_sources(values, threshold)
            if xs:
                break
    width_x = [profile_width(values[y - 1], x - 1) for x, y in zip(xs, ys, strict=True)]
    width_y = [profile_width(values[:, x - 1], y - 1) for x, y in zip(xs, ys, strict=True)]
    return SourceWidths(
        threshold,
        np.array(xs, dtype=np.int64),
        np.array(ys, dtype=np.int64),
        np.array(width_x, dtype=np.float64),
        np.array(width_y, dtype=np.float64),
    )


def source_cards(
    sources: SourceWidths, wavelength: float, steps_arcsec: Sequence[float], prefix: str = "ESO QC SCIPOST"
) -> list[Card]:
    """QC keywords of measured sources; ``steps_arcsec`` are the pixel sizes along x and y."""
    cards: list[Card] = [
        (
            f"{prefix} LAMBDA",
            single_precision(wavelength),
            "[Angstrom] Wavelength of plane in combined cube used for object detection",
        ),
        (f"{prefix} NDET", len(sources), "Number of detected sources in output cube."),
    ]
    if not len(sources):
        for key, what in (("POS0", "[pix] Position"), ("FWHM0", "[arcsec] FWHM")):
            for axis in "XY":
                text = f"{what} of source k in {axis.lower()}-direction"
                cards.append((f"{prefix} {key} {axis}", -1.0, text))
        return cards
    widths = np.array([sources.width_x * steps_arcsec[0], sources.width_y * steps_arcsec[1]])
    widths[:, ~sources.valid] = -1.0  # measured against 2.8.7: both are given up if one cannot be measured
    for k in range(len(sources)):
        for axis, position in (("X", sources.x[k]), ("Y", sources.y[k])):
            text = f"[pix] Position of source k in {axis.lower()}-direction"
            cards.append((f"{prefix} POS{k + 1} {axis}", float(position), text))
        for row, axis in enumerate("XY"):
            text = f"[arcsec] FWHM of source k in {axis.lower()}-direction"
            cards.append((f"{prefix} FWHM{k + 1} {axis}", single_precision(widths[row, k]), text))
    valid = sources.valid
    median = deviation = 0.0
    if valid.any() and len(sources) >= SOURCES_FOR_MEDIAN:  # sources found, not measured (2.8.7)
        used = widths[:, valid].astype(np.float32).astype(np.float64)
        median = float(np.median(used))
        deviation = float(np.median(np.abs(used - median)))
    cards += [
        (f"{prefix} FWHM NVALID", int(valid.sum()), "Number of detected sources with valid FWHM"),
        (f"{prefix} FWHM MEDIAN", single_precision(median), "[arcsec] Median FWHM of all valid sources"),
        (f"{prefix} FWHM MAD", single_precision(deviation), "[arcsec] Median absolute deviation of the FWHM"),
    ]
    return cards


def qc_from_plane(
    plane: npt.ArrayLike, wavelength: float, steps_arcsec: Sequence[float], prefix: str = "ESO QC SCIPOST"
) -> list[Card]:
    """QC keywords of a cube from one of its planes.

    Parameters
    ----------
    plane : float32[ny, nx]
        Plane number `quality_plane`; NaN where there are no data.
    wavelength : float
        Its wavelength in Angstrom.
    steps_arcsec : (float, float)
        Pixel size along x and y, see `pixel_steps_arcsec`.
    prefix : str
        What the keywords begin with.

    Returns
    -------
    list of (keyword, value, comment)
    """
    return source_cards(measure_sources(plane), wavelength, steps_arcsec, prefix)


def pixel_steps_arcsec(grid: OutputGrid, nominal: Sequence[float] = (0.2, 0.2)) -> tuple[float, float]:
    """Pixel sizes of an output grid; ``nominal`` ones for a grid in detector pixels (no astrometry)."""
    if str(grid.ctype[0]).startswith("PIXEL"):
        return (abs(float(grid.cd[0][0])) * nominal[0], abs(float(grid.cd[1][1])) * nominal[1])
    return (
        3600.0 * float(np.hypot(grid.cd[0][0], grid.cd[1][0])),
        3600.0 * float(np.hypot(grid.cd[0][1], grid.cd[1][1])),
    )
