# SPDX-License-Identifier: BSD-3-Clause
"""The image of the line profile of one slice: offset from the line by wavelength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.arcs.profile_kernels import (
    TERMS_L,
    TERMS_X,
    add_rows,
    change_sample,
    solve_samples,
    subtract_lines,
)
from muse_core.arcs.profile_rows import LineRows, ProfilePlan
from muse_core.postproc.lsf.images import pad_samples

Floats = npt.NDArray[np.float64]
FIRST_LAM, LAM_RANGE = 4650.0, 4650.0  # Angstrom, in all modes
SCALE = 0.5 * LAM_RANGE
HIT_SIGMA, HIT_SHARE = 10.0, 0.25  # a hit stands out by so many deviations and so much of the peak


@dataclass(frozen=True)
class ProfileGrid:
    """Offsets (Angstrom from the line) and wavelengths (Angstrom) of a profile image."""

    offsets: Floats
    wavelengths: Floats

    @property
    def step(self) -> float:
        """Angstrom between two offsets."""
        return float((self.offsets[-1] - self.offsets[0]) / (self.offsets.size - 1))

    @property
    def lam_step(self) -> float:
        """Angstrom between two wavelengths (a number of single precision, as in 2.8.7)."""
        return float(np.float32(LAM_RANGE / max(self.wavelengths.size - 1, 1)))


def profile_grid(plan: ProfilePlan) -> ProfileGrid:
    """Return the grid of the images of a run.

    >>> profile_grid(ProfilePlan()).step.__round__(6)
    0.100671
    """
    offsets = -plan.reach + np.arange(plan.samples) * (2 * plan.reach / (plan.samples - 1))
    wavelengths = FIRST_LAM + np.arange(plan.wavelengths) * (LAM_RANGE / max(plan.wavelengths - 1, 1))
    return ProfileGrid(np.asarray(offsets, np.float64), np.asarray(wavelengths, np.float64))


def clean_profile(rows: LineRows, grid: ProfileGrid, plan: ProfilePlan) -> tuple[Floats, LineRows, int]:
    """Return the image of the profile without cosmic-ray hits, the rows that are left, and failed samples.

    Pixels far from their lines are left out before, where ``plan.far_from_gaussian`` says so.
    """
    image, failed = profile_image(rows, grid, plan)
    if plan.far_from_gaussian or (kept := ~hits(rows, image, grid)).all():
        return image, rows, failed
    rows = rows.chosen(kept)
    return *profile_image(rows, grid, plan)[:1], rows, failed


def hits(rows: LineRows, image: Floats, grid: ProfileGrid) -> npt.NDArray[np.bool_]:
    """Rows that stand out of the profile (bool[n])."""
    padded = pad_samples(image.astype(np.float32))
    total, moment = image.sum(axis=1), image @ grid.offsets
    over = ((rows.data.astype(np.float64) - rows.background) / rows.flux).astype(np.float32)
    axes = float(grid.offsets[0]), grid.step, float(grid.wavelengths[0]), grid.lam_step
    ones = np.ones(len(rows), np.float32)
    subtract_lines(padded, total, moment, *axes, rows.lam, rows.line, ones, over)
    noise = np.sqrt(np.maximum(rows.stat, 0)) / rows.flux
    return np.asarray((over > HIT_SIGMA * noise) & (over > HIT_SHARE * image.max()), bool)


def profile_image(rows: LineRows, grid: ProfileGrid, plan: ProfilePlan) -> tuple[Floats, int]:
    """Return the image (float64[wavelengths, offsets], area 1 in each row) and the samples that failed.

    Each sample is the value of a polynomial, quadratic in the offset and cubic in the wavelength, through the
    rows of all lines within the window.
    """
    x = rows.lam.astype(np.float64) - rows.line
    z = (rows.data.astype(np.float64) - rows.background) / rows.flux
    v = (rows.line.astype(np.float64) - FIRST_LAM - SCALE) / SCALE
    terms = TERMS_X * TERMS_L
    normal, rhs = np.zeros((plan.samples, terms, terms)), np.zeros((plan.samples, terms))
    counts = np.zeros(plan.samples, np.int64)
    add_rows(x, z, v, float(grid.offsets[0]), grid.step, plan.window, normal, rhs, counts)
    if plan.uneven_ends and x.size:
        order = np.lexsort((rows.lam, x))
        for j, part, sign in _rows_of_the_ends(x[order], grid.offsets, plan.window):
            own = order[part]
            near = (x[own] - grid.offsets[j]) / plan.window
            change_sample(near, z[own], v[own], sign, normal[j], rhs[j])
            counts[j] += sign * own.size
    image = np.zeros((grid.wavelengths.size, plan.samples))
    failed = solve_samples(normal, rhs, counts, (grid.wavelengths - FIRST_LAM - SCALE) / SCALE, image)
    total = image.sum(axis=1) * grid.step
    usable = total > 0
    image[usable] /= total[usable, None]
    image[~usable] = 0
    return image, int(failed)


def _rows_of_the_ends(x: Floats, offsets: Floats, half: float) -> Iterator[tuple[int, slice, int]]:
    """Yield sample, rows, and whether they are added (1) or taken away (-1), where a window passes their end.

    Measured against 2.8.7: a window that begins before the first row lacks it; one that ends beyond the last
    is moved back to end there, but for the place that offsets count from. ``x``: in rising order.
    """
    for j in np.flatnonzero(offsets - half < x[0]):
        yield int(j), slice(0, 1), -1
    for j in np.flatnonzero(offsets + half > x[-1]):
        ends = np.searchsorted(x, [x[-1] - 2 * half, offsets[j] - half], side="right")
        yield int(j), slice(int(ends[0]), int(ends[1])), 1


def widths(image: npt.NDArray[np.floating], step: float) -> Floats:
    """Full width at half of the middle sample of each row (Angstrom; float64[wavelengths]), NaN if none.

    Measured against 2.8.7: the middle is sample size/2, not the maximum; linear between samples.
    """
    out = np.full(image.shape[0], np.nan)
    middle = image.shape[1] // 2 - 1
    for k, row in enumerate(np.asarray(image, np.float64)):
        half = 0.5 * row[middle]
        right = middle + np.flatnonzero(row[middle:] < half)[:1]
        left = middle - np.flatnonzero(row[middle::-1] < half)[:1]
        if not (half > 0 and right.size and left.size):
            continue
        r, b = int(right[0]), int(left[0])
        end = r - 1 + (row[r - 1] - half) / (row[r - 1] - row[r])
        begin = b + 1 - (row[b + 1] - half) / (row[b + 1] - row[b])
        out[k] = (end - begin) * step
    return out
