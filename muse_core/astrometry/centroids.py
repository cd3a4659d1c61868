# SPDX-License-Identifier: BSD-3-Clause
"""Where the stars of an image are: fits of a Moffat profile or a Gaussian, or centres of light in a box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.stars.detection import Star
from muse_core.stars.plane_kernels import fill_gaps, profile_width
from muse_core.stars.profile_kernels import AX, AY, BACKGROUND, FLUX, GAUSSIAN, MOFFAT, X, Y, fit_profile

Image = npt.NDArray[np.float64]
BETA = 2.5
HALF_WIDTH = 2.0 * math.sqrt(2.0 ** (1.0 / BETA) - 1.0)
"""Full width at half maximum over the scale of a Moffat profile of that exponent."""
SIGMA_WIDTH = 2.0 * math.sqrt(2.0 * math.log(2.0))
WINDOW = 1.5
"""Half size of the window in units of the full width at half maximum: neighbours must not be fitted along."""
FREE = {"moffat": np.array([FLUX, X, Y, AX, AY]), "gaussian": np.array([BACKGROUND, FLUX, X, Y, AX, AY])}
TOLERANCE, TIMES, STEPS = 1e-9, 3, 200
ROUNDS = 3
"""How often stars are measured again without their neighbours: the second time changes some 1e-4 pixel."""
REACH = 12.0
"""Half size of the profile of a neighbour in full widths at half maximum; beyond it is 2e-6 of its peak."""


@dataclass(frozen=True)
class Position:
    """A star with its measured place.

    Parameters
    ----------
    x, y : float
        FITS pixels
    x_error, y_error : float
    flux : float
    x_fwhm, y_fwhm : float
        full widths at half maximum [pixel]
    """

    x: float
    y: float
    x_error: float
    y_error: float
    flux: float
    x_fwhm: float
    y_fwhm: float


def measure_positions(
    image: Image, variance: Image, stars: Sequence[Star], method: str, *, alone: bool = True
) -> list[Position]:
    """Measure stars; those that cannot be measured are left out.

    Parameters
    ----------
    image, variance : float64[ny, nx]
        NaN where empty
    method : {"moffat", "gaussian", "box"}
    alone : bool
        Measure profiles again without the light of the other stars: wings of neighbours pull a fit some
        hundredths of a pixel towards them.
    """
    plane, noise = np.empty(image.shape), np.empty(image.shape)
    fill_gaps(image.astype(np.float32), variance.astype(np.float32), plane, noise)
    level = float(np.nanmedian(image))
    found = [_measure(plane, noise, level, star, method) for star in stars]
    measured = [(star, one) for star, one in zip(stars, found, strict=True) if one is not None]
    empty = ~np.isfinite(image)
    for _ in range(ROUNDS if alone and method in FREE else 0):
        measured = _without_neighbours(plane, noise, empty, measured, method)
    return [position for _, position in measured]


def _without_neighbours(
    plane: Image,
    noise: Image,
    empty: npt.NDArray[np.bool_],
    measured: list[tuple[Star, Position]],
    method: str,
) -> list[tuple[Star, Position]]:
    """Measure stars again in an image from which the profiles of all others are taken out."""
    parts = [_profile(position, plane.shape, method) for _, position in measured]
    rest = plane.copy()
    for box, light in parts:
        rest[box] -= light
    level = float(np.median(rest[~empty]))  # without what all wings add to it
    again = []
    for (star, before), (box, light) in zip(measured, parts, strict=True):
        rest[box] += light
        again.append((star, _measure(rest, noise, level, star, method) or before))
        rest[box] -= light
    return again


def _profile(position: Position, shape: tuple[int, ...], method: str) -> tuple[tuple[slice, slice], Image]:
    """Return the profile of a star, background apart, and the part of the image that it is for."""
    reach = math.ceil(REACH * max(position.x_fwhm, position.y_fwhm))
    (x1, x2), (y1, y2) = (
        (min(max(round(place) - 1 - reach, 0), size), min(max(round(place) + reach, 0), size))
        for place, size in ((position.x, shape[1]), (position.y, shape[0]))
    )
    moffat = method == "moffat"
    factor = HALF_WIDTH if moffat else SIGMA_WIDTH
    ax, ay = position.x_fwhm / factor, position.y_fwhm / factor
    u = (np.arange(x1, x2) + 1.0 - position.x) / ax
    v = (np.arange(y1, y2) + 1.0 - position.y) / ay
    square = u**2 + (v**2)[:, None]
    if moffat:
        light = (BETA - 1.0) / (math.pi * ax * ay) * (1.0 + square) ** -BETA
    else:
        light = np.exp(-0.5 * square) / (2.0 * math.pi * ax * ay)
    return (slice(y1, y2), slice(x1, x2)), position.flux * light


def _measure(plane: Image, noise: Image, level: float, star: Star, method: str) -> Position | None:
    ix, iy = star.pixel
    ny, nx = plane.shape
    if not (0 <= ix < nx and 0 <= iy < ny):
        return None
    widths = profile_width(plane[iy].copy(), ix), profile_width(plane[:, ix].copy(), iy)
    if min(widths) <= 0.0:
        return None
    half = max(WINDOW * max(widths), 3.0)
    x1, x2 = max(round(star.x - half), 1), min(round(star.x + half), nx)
    y1, y2 = max(round(star.y - half), 1), min(round(star.y + half), ny)
    window, inner = plane[y1 - 1 : y2, x1 - 1 : x2], noise[y1 - 1 : y2, x1 - 1 : x2]
    if method == "box":
        return _box(window - level, inner, x1, y1, widths)
    weight = np.divide(1.0, inner, out=np.zeros(inner.shape), where=inner > 0.0)
    kind = MOFFAT if method == "moffat" else GAUSSIAN
    factor = HALF_WIDTH if kind == MOFFAT else SIGMA_WIDTH
    flux = max(float((window - level).sum()), 1e-3)
    p = np.array([level, flux, star.x, star.y, widths[0] / factor, widths[1] / factor, 0.0, BETA])
    error = np.empty(8)
    chi2 = fit_profile(
        kind, p, FREE[method], window, weight, float(x1), float(y1), TOLERANCE, TIMES, STEPS, error
    )
    inside = x1 - 0.5 <= p[X] <= x2 + 0.5 and y1 - 0.5 <= p[Y] <= y2 + 0.5
    if chi2 < 0.0 or not inside or not p[FLUX] > 0.0 or not (error[[X, Y]] > 0.0).all():
        return None
    return Position(
        float(p[X]), float(p[Y]), math.sqrt(error[X]), math.sqrt(error[Y]), float(p[FLUX]),
        float(p[AX]) * factor, float(p[AY]) * factor,
    )  # fmt: skip


def _box(light: Image, noise: Image, x1: int, y1: int, widths: tuple[float, float]) -> Position | None:
    """Return the centre of the light above the median of the image."""
    total = float(light.sum())
    if not total > 0.0:
        return None
    columns, rows = x1 + np.arange(light.shape[1]), y1 + np.arange(light.shape[0])
    x, y = float((light * columns).sum() / total), float((light * rows[:, None]).sum() / total)
    x_error = math.sqrt(float((noise * (columns - x) ** 2).sum())) / total
    y_error = math.sqrt(float((noise * ((rows - y) ** 2)[:, None]).sum())) / total
    if not (columns[0] <= x <= columns[-1] and rows[0] <= y <= rows[-1]):
        return None
    return Position(x, y, x_error, y_error, total, *widths)
