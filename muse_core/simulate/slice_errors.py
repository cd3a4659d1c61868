# SPDX-License-Identifier: BSD-3-Clause
"""What the slices of a real instrument do that their calibrations do not tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SHAPE = (24, 48)
REFERENCE = 7000.0


@dataclass(frozen=True)
class SliceErrors:
    """How large the errors are (standard deviations); what is 0 does not happen.

    Parameters
    ----------
    ifu_shift, slice_shift : error of the wavelengths common to an IFU, and of each slice [A]
    shift_slope : slope of the error of a slice [A per 1000 A]
    throughput : relative error of a slice
    throughput_slope : slope of that error [per 1000 A]
    width : relative error of the width of the line-spread function in LSF_PROFILE
    """

    ifu_shift: float = 0.0
    slice_shift: float = 0.0
    shift_slope: float = 0.0
    throughput: float = 0.0
    throughput_slope: float = 0.0
    width: float = 0.0

    def draw(self, seed: int) -> DrawnErrors:
        """Draw the errors of all slices; the same ones for any part of the instrument."""
        rng = np.random.default_rng([seed, 4])
        shift = rng.normal(0, 1, (24, 1)) * self.ifu_shift + rng.normal(0, 1, SHAPE) * self.slice_shift
        slope = rng.normal(0, 1, SHAPE) * self.shift_slope
        gain = 1.0 + rng.normal(0, 1, SHAPE) * self.throughput
        gain_slope = rng.normal(0, 1, SHAPE) * self.throughput_slope
        width = 1.0 + rng.normal(0, 1, SHAPE) * self.width
        return DrawnErrors(shift, slope, gain, gain_slope, width)


@dataclass(frozen=True)
class DrawnErrors:
    """The errors of all slices, each float64[24, 48]."""

    shift: Floats
    shift_slope: Floats
    gain: Floats
    gain_slope: Floats
    width: Floats

    def true_wavelength(self, ifu: int, slice_: int, lam: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the wavelength of the light that fell on rows with these wavelengths in the table."""
        place = ifu - 1, slice_ - 1
        error = self.shift[place] + self.shift_slope[place] * (lam - REFERENCE) / 1000.0
        return (lam.astype(np.float64) + error).astype(np.float32)

    def throughput(self, ifu: int, slice_: int, lam: npt.NDArray[np.float32]) -> Floats:
        """Return the relative throughput of a slice at some wavelengths."""
        place = ifu - 1, slice_ - 1
        return self.gain[place] + self.gain_slope[place] * (lam.astype(np.float64) - REFERENCE) / 1000.0
