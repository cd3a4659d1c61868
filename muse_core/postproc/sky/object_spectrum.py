# SPDX-License-Identifier: BSD-3-Clause
"""The spectrum of the object light that lies on the sky sample, so that it can be taken out of the sky.

The white-light image says how much more light of objects one part of the sample has than the whole of it; the
difference of the two mean spectra is that light. It is smooth, as starlight is: medians over 100 Angstrom, in
which neither noise nor sky lines matter.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.postproc.sky.mean_spectrum import MeanSpectrum
from muse_core.postproc.sky.sample import SkySample
from muse_core.postproc.white_light.sky_mask import SkyMask

Vector = npt.NDArray[np.float64]

SEGMENT = 100.0  # Angstrom
LARGEST_RATIO = 3.0
"""Object light at a wavelength over that of the white-light image; more is noise."""


@dataclass(frozen=True)
class ObjectSpectrum:
    """Mean light of objects on the sample, at some wavelengths; linear in between, constant beyond."""

    lam: Vector
    flux: Vector

    def __call__(self, lam: Vector) -> Vector:
        """Return the light at wavelengths."""
        return np.interp(lam, self.lam, self.flux)


NO_OBJECTS = ObjectSpectrum(np.zeros(1), np.zeros(1))


class ObjectSums:
    """Collects the rows of the sample, and those of its brighter half by the light of objects.

    Parameters
    ----------
    sample : SkySample
    mask : SkyMask
        of its spaxels
    lam : limits of the wavelengths of the exposure
    """

    def __init__(self, sample: SkySample, mask: SkyMask, lam: tuple[float, float], step: float) -> None:
        on_sky = sample.mask != 0
        light = sample.light[on_sky]
        self.mean_light = float(light.mean()) if light.size else 0.0
        bright = on_sky & (sample.light > (np.median(light) if light.size else 0.0))
        self._bright_light = float(sample.light[bright].mean()) if bright.any() else 0.0
        self._mask = SkyMask(bright.astype(np.uint8), mask.kind, mask.crpix, mask.crval, mask.cd)
        self._all, self._bright = (MeanSpectrum(*lam, step) for _ in range(2))

    @property
    def wanted(self) -> bool:
        """Tell whether there is any light to be measured."""
        return self.mean_light > 0.0 and self._bright_light > self.mean_light

    def add(
        self,
        xpos: npt.NDArray[np.float32],
        ypos: npt.NDArray[np.float32],
        lam: npt.NDArray[np.float32],
        data: npt.NDArray[np.float32],
        good: npt.NDArray[np.bool_],
    ) -> None:
        """Add rows of the sample."""
        good = good & np.isfinite(data)
        self._all.add(lam, data, good)
        self._bright.add(lam, data, good & self._mask.select(xpos, ypos))

    def spectrum(self, log: logging.Logger) -> ObjectSpectrum:
        """Return the light of objects in the mean of the sample."""
        if not self.wanted:
            return NO_OBJECTS
        (lam, mean), (bright_lam, bright) = self._all.spectrum(), self._bright.spectrum()
        both, here, there = np.intersect1d(lam, bright_lam, return_indices=True)
        if both.size == 0:
            return NO_OBJECTS
        ratio = (bright[there] - mean[here]) / (self._bright_light - self.mean_light)
        n = max(round((both[-1] - both[0]) / SEGMENT), 1)
        parts = np.array_split(np.arange(both.size), n)
        nodes = np.array([both[part].mean() for part in parts])
        medians = np.array([np.median(ratio[part]) for part in parts])
        flux = self.mean_light * np.clip(medians, 0.0, LARGEST_RATIO)
        share = 100.0 * float(np.median(flux)) / float(np.median(mean))
        log.info("light of objects on the sky sample: %.2f %% of it, taken out", share)
        return ObjectSpectrum(nodes, flux)
