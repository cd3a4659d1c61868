# SPDX-License-Identifier: BSD-3-Clause
"""The Blackman low-pass of regridded HST images, and the frequencies it works on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["frequency_grid", "lowpass_window"]

Array = npt.NDArray[np.float64]


def frequency_grid(shape: tuple[int, int], steps: tuple[float, float]) -> tuple[Array, Array]:
    """Frequencies along y (column vector) and x (row vector) of the ``rfft2`` layout [cycles per unit of
    steps].
    """
    from scipy import fft

    return fft.fftfreq(shape[0], steps[0])[:, None], fft.rfftfreq(shape[1], steps[1])[None, :]


def lowpass_window(radius: Array, cutoff: float) -> Array:
    """Circular Blackman window 0.42 + 0.5 cos(pi f/fc) + 0.08 cos(2 pi f/fc), zero beyond the cut-off."""
    f = np.minimum(radius / cutoff, 1.0)
    c = np.cos(np.pi * f)
    window = 0.42 + 0.5 * c + 0.08 * (2.0 * c * c - 1.0)
    return np.where(f < 1.0, window, 0.0)
