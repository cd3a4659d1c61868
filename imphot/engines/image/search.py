# SPDX-License-Identifier: BSD-3-Clause
"""First guesses of the `image` engine: offset by cross-correlation, scale and background by algebra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.image.forward_model import ForwardModel

__all__ = ["SEARCH", "SEEING", "scale_and_background", "search_offset"]

Array: TypeAlias = npt.NDArray[np.float64]

SEARCH = 3.0  # radius in which the first offset is looked for [arcsec]
SEEING = (0.7, 2.5)  # width [arcsec] and index of a typical PSF, where that of the image is not known yet


def scale_and_background(
    m: Array, d: Array, weight: Array, held: Mapping[str, float | None]
) -> tuple[float, float, float]:
    """Scale and background with which the model m fits the data d best, and the chi squared."""
    scale, bg = held.get("scale"), held.get("bg")
    if scale is None:
        if bg is None:
            s0, s1, s2 = weight.sum(), weight @ m, weight @ (m * m)
            d0, d1 = weight @ d, weight @ (m * d)
            det = s0 * s2 - s1 * s1
            scale = float((s0 * d1 - s1 * d0) / det) if det > 0 else 1.0
            bg = float((d0 - scale * s1) / s0)
        else:
            scale = float(weight @ (m * (d - bg))) / max(float(weight @ (m * m)), 1e-300)
    elif bg is None:
        bg = float((weight @ (d - scale * m)) / weight.sum())
    residual = d - scale * m - bg
    return scale, bg, float(weight @ (residual * residual))


def search_offset(
    model: ForwardModel,
    data: Array,
    usable: npt.NDArray[np.bool_],
    sigma: Array,
    local: Sequence[float],
    sought: Sequence[bool],
) -> tuple[float, float]:
    """First guess of the offset: maximum of the weighted cross-correlation within the search radius."""
    from scipy import fft

    steps = model.steps
    weight = np.where(usable, 1.0 / sigma**2, 0.0)
    centred = np.where(usable, data - np.median(data[usable]), 0.0)
    limit = np.percentile(np.abs(centred[usable]), 99.9)
    centred = np.clip(centred, -limit, limit)
    full = np.zeros(model.shape)
    reference = model.plane(0.0, 0.0, *SEEING)
    top = np.percentile(np.abs(reference), 99.9)
    reference = np.clip(reference, -top, top)
    full[model.window] = centred * weight
    mask = np.zeros(model.shape)
    mask[model.window] = weight
    ref_fft = fft.rfft2(reference)
    cross = fft.irfft2(fft.rfft2(full) * np.conj(ref_fft), model.shape)
    mask_fft = np.conj(fft.rfft2(mask))
    total = mask.sum()
    sum1 = fft.irfft2(np.conj(mask_fft) * np.conj(ref_fft), model.shape)
    sum2 = fft.irfft2(np.conj(mask_fft) * np.conj(fft.rfft2(reference**2)), model.shape)
    spread = np.maximum(sum2 - sum1**2 / total, 1e-3 * np.abs(sum2).max())
    gain = (cross - sum1 * full.sum() / total) / np.sqrt(spread)
    y = np.fft.fftfreq(model.shape[0], 1.0 / model.shape[0])[:, None] * steps[0]
    x = np.fft.fftfreq(model.shape[1], 1.0 / model.shape[1])[None, :] * steps[1]
    near = np.hypot(y, x) <= SEARCH
    if not sought[0]:
        near &= np.abs(x - local[0]) <= steps[1]
    if not sought[1]:
        near &= np.abs(y - local[1]) <= steps[0]
    iy, ix = np.unravel_index(np.argmax(np.where(near, gain, -np.inf)), model.shape)
    fy, fx = _vertex(np.roll(gain[:, ix], 1 - iy)), _vertex(np.roll(gain[iy], 1 - ix))
    return float(x[0, ix]) + fx * steps[1], float(y[iy, 0]) + fy * steps[0]


def _vertex(values: Array) -> float:
    """Place of the maximum of a parabola through the first three values, counted from the second one."""
    curvature = values[0] - 2.0 * values[1] + values[2]
    return float(np.clip(0.5 * (values[0] - values[2]) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0
