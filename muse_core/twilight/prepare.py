# SPDX-License-Identifier: BSD-3-Clause
"""One IFU from raw sky flats to stored pixel-table rows."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import single_precision
from muse_core.detector.calibrate import ExposureModel, Planes, apply_exposure
from muse_core.detector.combine import combine_images, interpolate_bad
from muse_core.detector.exposure import fit_raw
from muse_core.detector.illum import BAND, IllumModel, fit_illum
from muse_core.detector.pixels import build_pixel_map, slice_medians
from muse_core.detector.plan import DetectorPlan
from muse_core.detector.statistics import image_statistics
from muse_core.framework.errors import InputError
from muse_core.twilight.inputs import IfuInputs
from muse_core.twilight.store import RowStore, StoredIfu

QualityCard = tuple[str, float, str]

BAND_ROWS = 32


@dataclass(frozen=True)
class PreparedIfu:
    """What the recipe keeps of one IFU."""

    ifu: int
    stored: StoredIfu
    lamp_flux: float
    qc: tuple[QualityCard, ...]
    illum: IllumModel | None
    notes: tuple[str, ...]


_reused = threading.local()


def _buffer(name: str, shape: tuple[int, ...], dtype: type) -> npt.NDArray[Any]:
    """Array of this thread, kept from one IFU to the next: fresh pages cost more than the work on them."""
    array: npt.NDArray[Any] | None = getattr(_reused, name, None)
    if array is None or array.shape != shape or array.dtype != dtype:
        array = np.empty(shape, dtype)
        setattr(_reused, name, array)
    return array


def forget_buffers(*names: str) -> None:
    """Give up arrays of this thread whose names begin so; all of them without a name."""
    for name in list(vars(_reused)):
        if not names or name.startswith(names):
            delattr(_reused, name)


NAMES = {
    "MEDIAN": "Median value of ",
    "MEAN": "Mean value of ",
    "STDEV": "Standard deviation of ",
    "MIN": "Minimum value of ",
    "MAX": "Maximum value of ",
}


def statistics_cards(prefix: str, found: dict[str, float], what: str) -> list[QualityCard]:
    """QC cards of the statistics of one image."""
    return [(f"{prefix} {name}", single_precision(found[name]), text + what) for name, text in NAMES.items()]


def _planes(name: str, n: int, nx: int) -> Planes:
    """Arrays for ``n`` rows of a master image."""
    shape = (BAND_ROWS, nx)
    data, stat = (_buffer(f"{name}_{plane}", shape, np.float32)[:n] for plane in ("data", "stat"))
    return data, _buffer(f"{name}_dq", shape, np.int32)[:n], stat


class _Images(NamedTuple):
    """Calibrated exposures (float32[n, ny, nx]), their combination (data, stat, dq) and the ILLUM or None."""

    calibrated: npt.NDArray[np.float32]
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    dq: npt.NDArray[np.int32]
    lamp: npt.NDArray[np.float32] | None


def _calibrate(
    job: IfuInputs,
    plan: DetectorPlan,
    raws: list[npt.NDArray[np.uint16]],
    models: list[ExposureModel],
) -> _Images:
    """Calibrate and combine band by band; ``raws`` and ``models`` of the sky flats, then of the ILLUM."""
    own = job.calibration
    ny, nx = own.shape
    nsky = len(job.exposures)
    images = _Images(
        _buffer("calibrated", (nsky, ny, nx), np.float32),
        _buffer("data", (ny, nx), np.float32),
        _buffer("stat", (ny, nx), np.float32),
        _buffer("dq", (ny, nx), np.int32),
        _buffer("lamp", (ny, nx), np.float32) if job.illum else None,
    )
    shape = (len(raws), min(BAND_ROWS, ny), nx)
    d, v = _buffer("band_data", shape, np.float32), _buffer("band_stat", shape, np.float32)
    q = _buffer("band_dq", shape, np.int32)
    factors = [
        np.float32(job.exposures[0].exptime / e.exptime) if plan.scale and i else np.float32(1)
        for i, e in enumerate(job.exposures)
    ]
    for y0 in range(0, ny, BAND_ROWS):
        y1 = min(y0 + BAND_ROWS, ny)
        n = y1 - y0
        bias, flat = (
            master.rows(y0, y1, _planes(name, n, nx))
            for name, master in (("bias", own.bias), ("flat", own.flat))
        )
        dark = own.dark.rows(y0, y1, _planes("dark", n, nx)) if own.dark is not None else None
        for i, (raw, model) in enumerate(zip(raws, models, strict=True)):
            apply_exposure(raw, model, (y0, y1), bias, dark, flat, d[i, :n], v[i, :n], q[i, :n])
            if i < nsky:
                if factors[i] != 1:
                    d[i, :n] *= factors[i]
                    v[i, :n] *= factors[i] * factors[i]
                images.calibrated[i, y0:y1] = d[i, :n]
            elif images.lamp is not None:
                images.lamp[y0:y1] = d[i, :n]
        combined = images.data[y0:y1], images.stat[y0:y1], images.dq[y0:y1]
        combine_images(d[:nsky, :n], v[:nsky, :n], q[:nsky, :n], plan.combine, *combined)
    return images


def _quality(job: IfuInputs, models: list[ExposureModel], images: _Images) -> list[QualityCard]:
    """QC cards of the exposures and of the combined image."""
    qc: list[QualityCard] = []
    for i, number in enumerate(job.numbers):
        prefix = f"ESO QC TWILIGHT{job.ifu} INPUT{number}"
        qc += statistics_cards(
            prefix, image_statistics(images.calibrated[i]), f"raw exposure {number} of IFU {job.ifu}"
        )
        qc.append(
            (f"{prefix} NSATURATED", models[i].nsaturated, f"Number of saturated pixels in exposure {number}")
        )
    prefix = f"ESO QC TWILIGHT{job.ifu} MASTER"
    found = image_statistics(images.data)
    qc += statistics_cards(prefix, found, "the combined exposures")
    qc.append((f"{prefix} INTFLUX", single_precision(found["SUM"]), "Flux integrated over the whole image"))
    return qc


def prepare_ifu(job: IfuInputs, plan: DetectorPlan, store: RowStore) -> PreparedIfu:
    """Calibrate and combine the exposures of one IFU, correct the slices, store the rows.

    The images are calibrated band by band, so that the masters are read once and never held whole.

    Parameters
    ----------
    job : IfuInputs
    plan : DetectorPlan
    store : RowStore
        Receives the rows.

    Raises
    ------
    InputError
        With the reason why this IFU cannot be used.
    """
    own = job.calibration
    frames = [*job.exposures, *([job.illum] if job.illum else [])]
    raws = [
        frame.read(job.ifu, _buffer(f"raw{i}", frame.quadrants[job.ifu][0].frame_shape, np.uint16))
        for i, frame in enumerate(frames)
    ]
    models = [
        fit_raw(frame, job.calibration, plan.overscan, raw) for frame, raw in zip(frames, raws, strict=True)
    ]
    images = _calibrate(job, plan, raws, models)
    data, stat, dq, lamp = images.data, images.stat, images.dq, images.lamp
    qc = _quality(job, models, images)
    del raws, images
    forget_buffers("raw", "calibrated")  # the rows, which come next, need as much
    if not (dq == 0).any():
        raise InputError("", "all pixels of the combined image are flagged")
    interpolate_bad(data, dq)
    pixels = build_pixel_map(own.ifu, own.shape, own.trace, own.wave, own.geometry, own.mode)
    illum, slice_factors = None, np.ones(len(own.geometry.x))
    if lamp is not None:
        # measured against 2.8.7: flagged pixels count here with their own values, they are not interpolated
        illum = fit_illum(slice_medians(lamp, pixels, *BAND))
        slice_factors = illum.factors
    stored = store.add(pixels, data, stat, dq, slice_factors)
    if not stored.rows:
        raise InputError("", f"no pixel between {store.low:g} and {store.high:g} Angstrom")
    if not (np.isfinite(stored.flux) and stored.flux > 0):
        raise InputError("", f"the integrated flux is {stored.flux:g}, not a positive number")
    notes = [
        f"{frame.path.name}: {note}"
        for frame, model in zip(frames, models, strict=True)
        for note in model.notes
    ]
    notes += pixels.notes
    return PreparedIfu(job.ifu, stored, own.lamp_flux, tuple(qc), illum, tuple(notes))


def memory_per_ifu(job: IfuInputs) -> int:
    """Estimate of what `prepare_ifu` holds at its peak, in bytes."""
    ny, nx = job.calibration.shape
    frames = len(job.exposures) + (job.illum is not None)
    return ny * nx * (2 * frames + 4 * len(job.exposures) + 8 + 12) + BAND_ROWS * nx * 12 * (frames + 3)
