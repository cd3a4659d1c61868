# SPDX-License-Identifier: BSD-3-Clause
"""The spectrum of the object light that lies on the sky sample, so that it can be taken out of the sky.

The white-light image says how much more light of objects some spaxels have than the sample: those beside it
or, where the sample is most of the field, its brighter half. The difference of the two mean spectra is that
light. It is smooth, as starlight is: medians over 100 Angstrom, in which neither noise nor sky lines matter.
Spaxels count by their rows, in the image as in the spectra: at the edges of slices there are some that have a
value in the image, from their neighbours, but few rows or none.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from muse_core.data.per_thread import PerThread
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
"""Factor by which the brighter spaxels of the image may be brighter or fainter than the light says."""
SLICE_WIDTH = 75  # spaxels
GROUP = 5.0
"""Angstrom of which means are taken before medians: single bins hold rows of some slices only, and these
differ much in their light."""


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


def _contrast(
    light: Vector, bright: npt.NDArray[np.bool_], on_sky: npt.NDArray[np.bool_], weight: Vector
) -> float:
    """Return by how much the mean of the bright spaxels is above that of the sample, by their weights."""
    if not (weight[bright].any() and weight[on_sky].any()):
        return 0.0
    bright, on_sky = bright & (weight > 0), on_sky & (weight > 0)
    return _mean(light[bright], weight[bright]) - _mean(light[on_sky], weight[on_sky])


def _mean(values: Vector, weight: Vector) -> float:
    return float((values * weight).sum() / weight.sum())


NO_OBJECTS = ObjectSpectrum(np.zeros(1), np.zeros(1))


def _no_rows(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return np.zeros(shape, np.int64)


class ObjectSums:
    """Collects the rows of the sample, and those of spaxels with more light of objects.

    Parameters
    ----------
    sample : SkySample
    mask : SkyMask
        of its spaxels
    lam : limits of the wavelengths of the exposure
    image : float32[ny, nx] or None
        the image by which the light was found: it tells by how much these spaxels are brighter, which the
        light, found on the whole of the field, does not tell as well

    Attributes
    ----------
    wanted : whether there is light of objects on the sample at all
    beside : SkyMask or None   spaxels that are wanted besides those of the sample
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
        ones = np.ones(on_sky.shape)
        if sample.beside is not None:
            bright = sample.beside
            contrast = _contrast(sample.light, bright, on_sky, ones)
        else:
            bright = on_sky & (sample.light > (np.median(light) if light.size else 0.0))
            in_slices = _brighter_of_slices(sample.light, on_sky)
            contrast, local = (_contrast(sample.light, part, on_sky, ones) for part in (bright, in_slices))
            if local > ENOUGH_CONTRAST * contrast:
                bright, contrast = in_slices, local
        self.wanted = bool(light.size) and float(light.mean()) > 0.0 and contrast > 0.0
        self._light, self._image = sample.light, image
        self._on_sky = on_sky
        self._mask = replace(mask, mask=bright.astype(np.uint8))
        self.beside = None if sample.beside is None else self._mask
        self._all, self._bright = (MeanSpectrum(*lam, step) for _ in range(2))
        self._rows = PerThread(partial(_no_rows, on_sky.shape))

    def add(
        self,
        xpos: npt.NDArray[np.float32],
        ypos: npt.NDArray[np.float32],
        lam: npt.NDArray[np.float32],
        data: npt.NDArray[np.float32],
        good: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.bool_]:
        """Add rows of the sample and beside it; return which of them are of the sample."""
        good = good & np.isfinite(data)
        self._mask.count(xpos, ypos, good, self._rows.mine())
        bright = self._mask.select(xpos, ypos)
        of_sample = ~bright if self.beside is not None else np.ones(bright.shape, np.bool_)
        self._all.add(lam, data, good & of_sample)
        self._bright.add(lam, data, good & bright)
        return of_sample

    def merge(self, other: ObjectSums) -> None:
        """Add what another one about the same sample has collected."""
        self._all.merge(other._all)
        self._bright.merge(other._bright)
        _add(self._rows.joined(_add), other._rows.joined(_add))

    def spectrum(self, log: logging.Logger) -> ObjectSpectrum:
        """Return the light of objects in the mean of the sample."""
        if not self.wanted:
            return NO_OBJECTS
        rows = self._rows.joined(_add).astype(np.float64)
        contrast = self._seen_contrast(rows)
        (lam, mean), (bright_lam, bright) = self._all.spectrum(), self._bright.spectrum()
        both, here, there = np.intersect1d(lam, bright_lam, return_indices=True)
        if both.size == 0 or not contrast > 0.0:
            return NO_OBJECTS
        ratio = (bright[there] - mean[here]) / contrast
        n = max(round((both[-1] - both[0]) / SEGMENT), 1)
        parts = np.array_split(np.arange(both.size), n)
        nodes = np.array([both[part].mean() for part in parts])
        medians = np.array([_median_of_means(ratio[part], both[part]) for part in parts])
        flux = _mean(self._light[self._on_sky], rows[self._on_sky]) * np.clip(medians, 0.0, LARGEST_RATIO)
        share = 100.0 * float(np.median(flux)) / float(np.median(mean))
        log.info("light of objects on the sky sample: %.2f %% of it, taken out", share)
        return ObjectSpectrum(nodes, flux)

    def _seen_contrast(self, rows: Vector) -> float:
        """Return by how much the brighter spaxels are brighter, in the image if there is one."""
        bright = self._mask.mask != 0
        contrast = _contrast(self._light, bright, self._on_sky, rows)
        if self._image is None or not contrast > 0.0:
            return contrast
        seen = _contrast(self._image.astype(np.float64), bright, self._on_sky, rows)
        return float(np.clip(seen, contrast / MOST_OFF, contrast * MOST_OFF))


def _add(total: npt.NDArray[np.int64], more: npt.NDArray[np.int64]) -> None:
    total += more


def _median_of_means(values: Vector, lam: Vector) -> float:
    """Return the median of the means of groups of neighbours."""
    groups = np.array_split(values, max(round((lam[-1] - lam[0]) / GROUP), 1))
    return float(np.median([group.mean() for group in groups if group.size]))
