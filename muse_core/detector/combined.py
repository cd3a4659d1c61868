# SPDX-License-Identifier: BSD-3-Clause
"""Raw exposures of one IFU, calibrated and combined, band by band: no exposure is ever held as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from muse_core.detector.calibrate import ExposureModel, Planes, apply_exposure
from muse_core.detector.combine import CombinePlan, combine_images
from muse_core.detector.exposure import fit_raw
from muse_core.detector.image import BAND_ROWS, Image, bands_of_halves
from muse_core.detector.masters import MasterImage
from muse_core.detector.plan import OverscanPlan
from muse_core.detector.quadrants import Quadrant
from muse_core.detector.raw_sets import RawJob
from muse_core.detector.rawframe import RawFile
from muse_core.framework.errors import InputError

BYTES_PER_PIXEL = 12  # of the combined image
BYTES_OF_RAW = 2


class CombinedBand(NamedTuple):
    """Some rows: where they begin, the calibrated exposures (arrays ``[n, rows, nx]``), their combination."""

    first: int
    exposures: Image
    combined: Image


class RawRows:
    """Rows of the raw frames of an IFU, read when they are asked for; packed files are held as a whole."""

    def __init__(self, ifu: int, raws: Sequence[RawFile]) -> None:
        self._ifu, self._raws = ifu, raws
        self._whole: dict[int, npt.NDArray[np.uint16]] = {
            i: raw.read(ifu) for i, raw in enumerate(raws) if ifu not in raw.offsets
        }
        width = raws[0].quadrants[ifu][0].frame_shape[1]
        self._buffer = np.empty((BAND_ROWS, width), np.uint16)

    def of(self, number: int, first: int, last: int) -> npt.NDArray[np.uint16]:
        """Return raw rows of an exposure (uint16[last - first, width]); to be used before the next call."""
        if number in self._whole:
            return self._whole[number][first:last]
        return self._raws[number].rows(self._ifu, first, last, self._buffer)


def raw_rows_of(quadrants: Sequence[Quadrant], first: int, last: int) -> tuple[int, int]:
    """First and last (exclusive) raw row of some rows of one half of the trimmed image."""
    quadrant = next(q for q in quadrants if q.trimmed[0].start <= first < q.trimmed[0].stop)
    shift = quadrant.data[0].start - quadrant.trimmed[0].start
    return first + shift, last + shift


def measure_overscan(job: RawJob, plan: OverscanPlan) -> tuple[ExposureModel, ...]:
    """Settle the overscan correction of each exposure, and how much of the dark belongs to it.

    Raises
    ------
    InputError
        If the overscan level of one is not that of the bias.
    """
    return tuple(fit_raw(raw, job.own, plan, raw.read(job.ifu)) for raw in job.raws)


def exposure_notes(job: RawJob, models: Sequence[ExposureModel]) -> list[str]:
    """What is to be told of the exposures of an IFU; the same note is told once."""
    notes = dict.fromkeys(note for model in models for note in model.notes)
    return [*job.notes, *(f"IFU {job.ifu}: {note}" for note in notes)]


def scale_factors(job: RawJob, scale: bool) -> list[float]:
    """Factors that bring all exposures to the exposure time of the first one (``scale``).

    Raises
    ------
    InputError
        For an exposure without a time.
    """
    if not scale:
        return [1.0] * len(job.raws)
    for raw in job.raws:
        if not raw.exptime > 0:
            raise InputError(
                raw.path, "EXPTIME", expected="a positive time", found=raw.exptime, remedy="Use scale=false."
            )
    return [job.raws[0].exptime / raw.exptime for raw in job.raws]


def combined_bands(
    job: RawJob,
    models: Sequence[ExposureModel],
    plan: CombinePlan,
    factors: Sequence[float],
    every: int = 1,
) -> Iterator[CombinedBand]:
    """Calibrate and combine the exposures of an IFU; yields bands, whose arrays are used again.

    Parameters
    ----------
    job : RawJob
        With a bias; dark and flat field are used if they are there.
    models : sequence of ExposureModel
        From `measure_overscan`.
    plan : CombinePlan
    factors : sequence of float
        Data of each exposure are multiplied with it (in single precision), variances with its square.
    every : int
        Only one of so many bands.
    """
    own, n = job.own, len(job.raws)
    ny, nx = own.shape
    if own.bias is None:
        raise InputError("", f"no MASTER_BIAS with CHAN{own.ifu:02d} among the inputs")
    raw_rows = RawRows(own.ifu, job.raws)
    masters = _MasterRows(own.bias, own.dark, own.flat)
    shape = (n, min(BAND_ROWS, ny), nx)
    data, stat, dq = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int32)
    combined = Image.empty((shape[1], nx))
    for first, last in bands_of_halves(ny)[::every]:
        rows = last - first
        part = Image(data[:, :rows], stat[:, :rows], dq[:, :rows])
        bias, dark, flat = masters.rows(first, last)
        for i, (model, factor) in enumerate(zip(models, map(np.float32, factors), strict=True)):
            quadrants = job.raws[i].quadrants[own.ifu]
            begin, end = raw_rows_of(quadrants, first, last)
            raw = raw_rows.of(i, begin, end)
            apply_exposure(
                raw, model, (first, last), bias, dark, flat, part.data[i], part.stat[i], part.dq[i], begin
            )
            if factor != 1:
                part.data[i] *= factor
                part.stat[i] *= factor * factor
        out = combined.rows(0, rows)
        combine_images(*part, plan, *out)
        yield CombinedBand(first, part, out)


class _MasterRows:
    """Rows of bias, dark and flat field, in arrays that are used again."""

    def __init__(self, bias: MasterImage, dark: MasterImage | None, flat: MasterImage | None) -> None:
        self._bias, self._dark, self._flat = bias, dark, flat
        shape = (min(BAND_ROWS, bias.shape[0]), bias.shape[1])
        self._arrays = [
            (np.empty(shape, np.float32), np.empty(shape, np.int32), np.empty(shape, np.float32))
            for _ in range(3)
        ]

    def rows(self, first: int, last: int) -> tuple[Planes, Planes | None, Planes | None]:
        """Return rows of the three; None for one that is not there."""
        dark, flat = (
            _rows_of(master, arrays, first, last) if master is not None else None
            for master, arrays in ((self._dark, self._arrays[1]), (self._flat, self._arrays[2]))
        )
        return _rows_of(self._bias, self._arrays[0], first, last), dark, flat


def _rows_of(master: MasterImage, arrays: Planes, first: int, last: int) -> Planes:
    data, dq, stat = (array[: last - first] for array in arrays)
    return master.rows(first, last, (data, dq, stat))


def memory_per_ifu(shape: tuple[int, int], raw_shape: tuple[int, int], exposures: int) -> int:
    """Bytes that `measure_overscan` and `combined_bands` with a combined image in memory take."""
    ny, nx = shape
    band = BAND_ROWS * nx * (BYTES_PER_PIXEL * (exposures + 4) + BYTES_OF_RAW)
    return max(ny * nx * BYTES_PER_PIXEL + band, 2 * BYTES_OF_RAW * raw_shape[0] * raw_shape[1])
