# SPDX-License-Identifier: BSD-3-Clause
"""One channel of a raw exposure on its way to a calibrated image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from muse_core.detector.calibrate import (
    DQ_SATURATED,
    ExposureModel,
    apply_exposure,
    divide_by_flat,
    fit_exposure,
)
from muse_core.detector.calibrations import IfuCalibration
from muse_core.detector.dcr import CosmicPlan, flag_hits
from muse_core.detector.lacosmic import LaplacePlan, flag_laplacian
from muse_core.detector.masters import MasterImage
from muse_core.detector.plan import OverscanPlan
from muse_core.detector.rawframe import RawFile

BAND_ROWS = 64
LIT = 0.3  # of the flat field: less is between the slices


class Image(NamedTuple):
    """Data and variance (float32[ny, nx]) and flags (int32[ny, nx]) of a detector."""

    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    dq: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Image:
        """Return an image with unset pixels."""
        return cls(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int32))

    def rows(self, first: int, last: int) -> Image:
        """Return some rows (no copy)."""
        return Image(self.data[first:last], self.stat[first:last], self.dq[first:last])

    @property
    def nsaturated(self) -> int:
        """Number of saturated pixels."""
        return int(np.count_nonzero(self.dq & DQ_SATURATED))


@dataclass(frozen=True)
class CosmicFinders:
    """How cosmic rays are looked for in an image: gaps in histograms, Laplacian edges, both or none."""

    gaps: CosmicPlan | None = None
    laplace: LaplacePlan | None = None

    def __bool__(self) -> bool:
        return self.gaps is not None or self.laplace is not None


NO_FINDERS = CosmicFinders()


@dataclass(frozen=True)
class CalibratedExposure:
    """A calibrated image (count, count**2) and how it came about; ``hits``: None if not looked for."""

    image: Image
    model: ExposureModel
    hits: int | None = None


def read_image(master: MasterImage) -> Image:
    """Read a master image as a whole."""
    image = Image.empty(master.shape)
    master.rows(0, master.shape[0], (image.data, image.dq, image.stat))
    return image


def calibrate_exposure(
    exposure: RawFile, own: IfuCalibration, plan: OverscanPlan, cosmics: CosmicFinders = NO_FINDERS
) -> CalibratedExposure:
    """Flag, remove overscan, trim, subtract bias and dark, flag hits, divide by the flat field.

    Parameters
    ----------
    exposure : RawFile
    own : IfuCalibration
        Of the channel that is wanted; its masters are read band by band.
    plan : OverscanPlan
    cosmics : CosmicFinders
        How hits are looked for, in counts before the flat field (measured against 2.8.7).

    Raises
    ------
    InputError
        With the reason why this channel cannot be used.
    """
    raw = exposure.read(own.ifu)
    scale = exposure.exptime / own.dark_exptime if own.dark is not None else 0.0
    model = fit_exposure(raw, exposure.quadrants[own.ifu], own.bad, plan, own.bias_levels, scale)
    image = Image.empty(own.shape)
    ny = own.shape[0]
    for first in range(0, ny, BAND_ROWS):
        last = min(first + BAND_ROWS, ny)
        dark = own.dark.rows(first, last) if own.dark is not None else None
        flat = own.flat.rows(first, last) if not cosmics else None
        apply_exposure(
            raw, model, (first, last), own.bias.rows(first, last), dark, flat, *image.rows(first, last)
        )
    if not cosmics:
        return CalibratedExposure(image, model)
    hits = 0
    between = np.zeros(own.shape, bool)
    if cosmics.gaps is not None:
        hits += flag_hits(image.data, image.dq, cosmics.gaps)
    for first in range(0, ny, BAND_ROWS):
        last = min(first + BAND_ROWS, ny)
        flat = own.flat.rows(first, last)
        divide_by_flat(*image.rows(first, last), flat)
        between[first:last] = flat[0] < LIT
    if cosmics.laplace is not None:
        # after the flat field: before it every edge of a slice would count as a hit
        hits += flag_laplacian(*image, between, cosmics.laplace)
    return CalibratedExposure(image, model, hits)
