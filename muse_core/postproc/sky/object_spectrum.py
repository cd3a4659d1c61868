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


ENOUGH_CONTRAST = 0.5
"""Of that between both halves of the sample, by which halves of slices must differ to be taken instead."""
MOST_OFF = 2.0
"""Factor by which the brighter half of the image may be brighter or fainter than the light says."""
SLICE_WIDTH = 75  # spaxels


def _brighter_of_slices(light: Vector, on_sky: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the half of each slice with more light: halves of slices share their throughputs.

    Parameters
    ----------
    light : float64[ny, nx]; on_sky : bool[ny, nx]   a slice is a row of some columns
    """
    found = np.zeros(on_sky.shape, np.bool_)
    pieces = max(round(on_sky.shape[1] / SLICE_WIDTH), 1)
    for columns in np.array_split(np.arange(on_sky.shape[1]), pieces):
        values = np.where(on_sky[:, columns], light[:, columns], np.nan)
        some = np.isfinite(values).any(axis=1)
        found[np.ix_(some, columns)] = values[some] > np.nanmedian(values[some], axis=1, keepdims=True)
    return found


def _contrast(light: Vector, on_sky: npt.NDArray[np.bool_], bright: npt.NDArray[np.bool_]) -> float:
    return float(light[bright].mean() - light[on_sky].mean()) if bright.any() else 0.0


NO_OBJECTS = ObjectSpectrum(np.zeros(1), np.zeros(1))


class ObjectSums:
    """Collects the rows of the sample, and those of its brighter half by the light of objects.

    Parameters
    ----------
    sample : SkySample
    mask : SkyMask
        of its spaxels
    lam : limits of the wavelengths of the exposure
    image : float32[ny, nx] or None
        the image by which the light was found: it tells by how much the brighter half is brighter, which
        the light, found on the whole of the field, does not tell as well
    """

    def __init__(
        self,
        sample: SkySample,
        mask: SkyMask,
        lam: tuple[float, float],
        step: float,
        image: npt.NDArray[np.float32] | None = None,
    ) -> None:
        on_sky = sample.mask != 0
        light = sample.light[on_sky]
        self.mean_light = float(light.mean()) if light.size else 0.0
        bright = on_sky & (sample.light > (np.median(light) if light.size else 0.0))
        in_slices = _brighter_of_slices(sample.light, on_sky)
        contrast, local = (_contrast(sample.light, on_sky, part) for part in (bright, in_slices))
        if local > ENOUGH_CONTRAST * contrast:
            bright, contrast = in_slices, local
        self._contrast = contrast
        if image is not None:
            seen = _contrast(image.astype(np.float64), on_sky, bright)
            self._contrast = float(np.clip(seen, contrast / MOST_OFF, contrast * MOST_OFF))
        self._mask = SkyMask(bright.astype(np.uint8), mask.kind, mask.crpix, mask.crval, mask.cd)
        self._all, self._bright = (MeanSpectrum(*lam, step) for _ in range(2))

    @property
    def wanted(self) -> bool:
        """Tell whether there is any light to be measured."""
        return self.mean_light > 0.0 and self._contrast > 0.0

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
        ratio = (bright[there] - mean[here]) / self._contrast
        n = max(round((both[-1] - both[0]) / SEGMENT), 1)
        parts = np.array_split(np.arange(both.size), n)
        nodes = np.array([both[part].mean() for part in parts])
        medians = np.array([np.median(ratio[part]) for part in parts])
        flux = self.mean_light * np.clip(medians, 0.0, LARGEST_RATIO)
        share = 100.0 * float(np.median(flux)) / float(np.median(mean))
        log.info("light of objects on the sky sample: %.2f %% of it, taken out", share)
        return ObjectSpectrum(nodes, flux)
