# SPDX-License-Identifier: BSD-3-Clause
"""Line-spread functions given as images: one image (offset, wavelength) for each slice.

The profile of a line is the row of the image at the wavelength of the line (linear in between, constant
beyond the ends), divided by its integral, shifted so that its first moment lies at zero, linear between its
samples and zero beyond one sample outside.  Sum and first moment of an interpolated row follow from those
of its two neighbours, so a profile is never tabulated.  All rules measured against the C pipeline 2.8.7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from muse_core.data.slices import N_IFU, N_SLICE
from muse_core.postproc.lsf.profile_kernels import place_line, sample


@dataclass(frozen=True)
class LsfImage:
    """Profiles of one or several slices on a common grid.

    Parameters
    ----------
    samples : float32 or float64[n_slice, n_lambda, n_offset + 2]   with one zero on each side
    x_first, x_step : offset of the first sample (without the added zero) and distance of the samples,
        Angstrom
    lam_first, lam_step : wavelength of the first row and distance of the rows, Angstrom
    row : int32[1152]   which image belongs to a slice (see `slice_key`); -1: none
    repeated : IFUs that are there again: the first image of each counts
    total, moment : float64[n_slice, n_lambda]   sum, and sum of offset * value, of each row
    """

    samples: npt.NDArray
    x_first: float
    x_step: float
    lam_first: float
    lam_step: float
    row: npt.NDArray[np.int32]
    repeated: tuple[int, ...] = ()
    total: npt.NDArray[np.float64] = field(init=False)
    moment: npt.NDArray[np.float64] = field(init=False)
    inner: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        n_slice, n_lambda, n_offset = self.samples.shape
        offsets = self.x_first + np.arange(n_offset - 2) * self.x_step
        total, moment, inner = (np.empty((n_slice, n_lambda)) for _ in range(3))
        near = np.abs(offsets) <= 0.5 * min(-offsets[0], offsets[-1])
        for first in range(0, n_slice, N_SLICE):  # in pieces that stay in the processor's cache
            piece = slice(first, first + N_SLICE)
            values = self.samples[piece, :, 1:-1].astype(np.float64)
            total[piece], moment[piece] = values.sum(axis=2), values @ offsets
            inner[piece] = values @ near
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "moment", moment)
        object.__setattr__(self, "inner", inner)

    def values(self) -> dict[str, object]:
        """Return what the rules of LSF_PROFILE are about: grid, area (and inner half) of rows, IFUs twice."""
        return {
            "CD1_1": self.x_step, "CD2_2": self.lam_step, "CRVAL2": self.lam_first, "AREA": self.total,
            "REACH": self.reach, "INNER": self.inner, "REPEATED": self.repeated,
        }  # fmt: skip

    @property
    def reach(self) -> tuple[float, float]:
        """Offsets of the first and last sample: the window of a line."""
        return self.x_first, self.x_first + (self.samples.shape[2] - 3) * self.x_step

    @property
    def ifus(self) -> tuple[int, ...]:
        """IFUs that have profiles."""
        return tuple(i + 1 for i in range(N_IFU) if (self.row[i * N_SLICE : (i + 1) * N_SLICE] >= 0).any())

    def grid(self) -> tuple[float, float, float, float]:
        """Return x_first, x_step, lam_first, lam_step, as the kernels take them."""
        return self.x_first, self.x_step, self.lam_first, self.lam_step

    def profile(self, key: int, lam_line: float, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the profile of a slice at the offsets ``x`` from a line, per Angstrom."""
        x = np.atleast_1d(np.asarray(x, dtype=np.float64))
        i = self.row[key]
        out = np.zeros(x.size)
        if i >= 0:
            k, f, scale, shift = place_line(self.total[i], self.moment[i], *self.grid(), lam_line)
            for n, offset in enumerate(x):
                out[n] = scale * sample(self.samples[i], k, f, offset + shift, self.x_first, self.x_step)
        return out


def pad_samples(cube: npt.NDArray) -> npt.NDArray:
    """Add the zero sample on each side of the offset axis."""
    return np.ascontiguousarray(np.pad(cube, [(0, 0)] * (cube.ndim - 1) + [(1, 1)]))


def average_image(lsf: LsfImage, rows_of_slice: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean image of the slices, weighted with their rows, as the images are (not normalised).

    Slices without an image do not count; the result keeps the padding.

    Parameters
    ----------
    rows_of_slice : int64[1152]   number of rows of each slice in the whole exposure
    """
    has = (lsf.row >= 0) & (rows_of_slice > 0)
    weight = np.zeros(lsf.samples.shape[0])
    np.add.at(weight, lsf.row[has], rows_of_slice[has].astype(np.float64))
    if weight.sum() == 0:
        return np.zeros(lsf.samples.shape[1:])
    return np.tensordot(weight / weight.sum(), lsf.samples.astype(np.float64), axes=1)


def fold_with_box(image: npt.NDArray[np.float64], width: float) -> npt.NDArray[np.float64]:
    """Fold an image along its last axis with a box of ``width`` samples; at the borders the mean of what
    exists.

    A width below one sample changes nothing.

    Examples
    --------
    >>> fold_with_box(np.array([[0.0, 0.0, 3.0, 0.0, 0.0]]), 3.0)
    array([[0., 1., 1., 1., 0.]])
    """
    if width < 1.0:
        return image.copy()
    n_full = int(math.floor((width - 1.0) / 2.0))
    edge = (width - 1.0) / 2.0 - n_full
    kernel = np.concatenate([[edge], np.ones(2 * n_full + 1), [edge]])
    n, half = image.shape[-1], n_full + 1
    out = np.zeros_like(image)
    weight = np.zeros(n)
    for shift, w in zip(range(-half, half + 1), kernel):
        a, b = max(0, -shift), min(n, n - shift)
        if w > 0 and a < b:
            out[..., a:b] += w * image[..., a + shift : b + shift]
            weight[a:b] += w
    return out / weight


def average_lsf(lsf: LsfImage, rows_of_slice: npt.NDArray[np.int64], sampling: float) -> LsfImage:
    """Return the profile for the line fit: the average, folded with the bins of the spectrum."""
    mean = average_image(lsf, rows_of_slice)[:, 1:-1]
    folded = fold_with_box(mean, sampling / lsf.x_step)
    everywhere = np.zeros(N_IFU * N_SLICE, dtype=np.int32)
    return LsfImage(pad_samples(folded[np.newaxis]), *lsf.grid(), everywhere)
