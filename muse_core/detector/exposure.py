# SPDX-License-Identifier: BSD-3-Clause
"""One raw exposure of one IFU to a calibrated image, band by band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.detector.calibrate import (
    ExposureModel,
    apply_exposure,
    divide_by_flat,
    fit_exposure,
)
from muse_core.detector.calibrations import CcdCalibration, IfuCalibration
from muse_core.detector.dcr import CosmicPlan, flag_hits
from muse_core.detector.image import DetectorImage, Image, ImageRoom, bands
from muse_core.detector.lacosmic import LaplacePlan, flag_laplacian
from muse_core.detector.plan import OverscanPlan
from muse_core.detector.rawframe import RawFile
from muse_core.framework.errors import InputError


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

    image: DetectorImage
    model: ExposureModel
    hits: int | None = None


def calibrate_exposure(
    exposure: RawFile,
    own: IfuCalibration,
    plan: OverscanPlan,
    room: ImageRoom,
    cosmics: CosmicFinders = NO_FINDERS,
) -> CalibratedExposure:
    """Flag, remove overscan, trim, subtract bias and dark, flag hits, divide by the flat field.

    Parameters
    ----------
    exposure : RawFile
    own : IfuCalibration
        Of the channel that is wanted; its masters are read band by band.
    plan : OverscanPlan
    room : ImageRoom
        Where the image is to be.
    cosmics : CosmicFinders
        How hits are looked for: dcr in counts before the flat field (measured against 2.8.7).

    Raises
    ------
    InputError
        With the reason why this channel cannot be used.
    """
    raw = exposure.read(own.ifu)
    model = fit_raw(exposure, own, plan, raw)
    if cosmics:
        return _with_finders(raw, model, own, room, cosmics)
    result = room.new(own.shape)
    result.fill(lambda first, rows: calibrate_rows(raw, model, own, first, rows))
    return CalibratedExposure(result, model)


def fit_raw(
    exposure: RawFile, own: CcdCalibration, plan: OverscanPlan, raw: npt.NDArray[np.uint16]
) -> ExposureModel:
    """Settle the overscan correction of a raw frame (uint16[ny, nx]) and the scale of its dark.

    Raises
    ------
    InputError
        naming file and channel, if its overscan level is not that of the bias
    """
    scale = exposure.exptime / own.dark_exptime if own.dark is not None else 0.0
    try:
        return fit_exposure(raw, exposure.quadrants[own.ifu], own.bad, plan, own.bias_levels, scale)
    except InputError as error:
        raise InputError(exposure.path, f"CHAN{own.ifu:02d}", found=error) from None


def calibrate_rows(
    raw: npt.NDArray[np.uint16],
    model: ExposureModel,
    own: IfuCalibration,
    first: int,
    out: Image,
    *,
    flat: bool = True,
) -> None:
    """Calibrate the rows of ``out`` from number ``first`` on; without ``flat`` the flat field is left out."""
    last = first + out.data.shape[0]
    dark = own.dark.rows(first, last) if own.dark is not None else None
    field = own.flat.rows(first, last) if flat else None
    apply_exposure(raw, model, (first, last), own.bias.rows(first, last), dark, field, *out)


def _with_finders(
    raw: npt.NDArray[np.uint16],
    model: ExposureModel,
    own: IfuCalibration,
    room: ImageRoom,
    cosmics: CosmicFinders,
) -> CalibratedExposure:
    """Calibrate in memory, since a finder looks at the image as a whole."""
    image = Image.empty(own.shape)
    for first, last in bands(own.shape[0]):
        calibrate_rows(raw, model, own, first, image.rows(first, last), flat=False)
    hits = 0
    if cosmics.gaps is not None:
        hits += flag_hits(image.data, image.dq, cosmics.gaps)
    for first, last in bands(own.shape[0]):
        divide_by_flat(*image.rows(first, last), own.flat.rows(first, last))
    if cosmics.laplace is not None:
        # after the flat field: before it every edge of a slice would count as a hit
        hits += flag_laplacian(*image, between_slices(own), cosmics.laplace)
    return CalibratedExposure(room.held(image), model, hits)


def between_slices(own: IfuCalibration) -> npt.NDArray[np.bool_]:
    """Pixels that no slice covers as a whole (bool[ny, nx])."""
    ny, nx = own.shape
    rows = np.arange(1, ny + 1, dtype=np.float64)
    edges = np.einsum("sek,rk->esr", own.trace, rows[:, None] ** np.arange(own.trace.shape[2]))
    left, right = np.ceil(edges[0] + 0.5), np.floor(edges[1] - 0.5)
    x = np.arange(1, nx + 1)
    outside = np.ones((ny, nx), bool)
    for first, last in zip(left, right, strict=True):
        low, high = int(max(first.min(), 1)), int(min(last.max(), nx))
        part = x[low - 1 : high]
        outside[:, low - 1 : high] &= (part < first[:, None]) | (part > last[:, None])
    return outside
