# SPDX-License-Identifier: BSD-3-Clause
"""The arc exposures of one IFU: one combined image for each lamp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from muse_core.arcs.inputs import ArcInputs, SliceTraces
from muse_core.arcs.lamps import Lamps
from muse_core.arcs.line_fits import SliceWindow
from muse_core.detector.calibrate import ExposureModel
from muse_core.detector.combine import CombinePlan
from muse_core.detector.combined import combined_bands, exposure_notes, measure_overscan
from muse_core.detector.image import Image, ImageRoom, MemoryImage, ScratchImage, Window
from muse_core.detector.masters_run import spread
from muse_core.detector.plan import OverscanPlan, exposures_needed, overscan_plan
from muse_core.detector.raw_sets import RawJob, job_of
from muse_core.detector.rawframe import RawFile
from muse_core.framework.errors import InputError
from muse_core.framework.spec import ParamValues

MARGIN = 2  # columns beside a slice


@dataclass(frozen=True)
class LampImage:
    """The combined image of one lamp (count, count**2).

    Attributes
    ----------
    lamps : Lamps
    job : RawJob
    image : MemoryImage or ScratchImage
    models : tuple of ExposureModel
        Overscan and saturated pixels of each exposure.
    notes : tuple of str
    """

    lamps: Lamps
    job: RawJob
    image: MemoryImage | ScratchImage
    models: tuple[ExposureModel, ...]
    notes: tuple[str, ...]


def lamp_images(
    ifu: int, inputs: ArcInputs, p: ParamValues, room: ImageRoom, threads: int = 1
) -> list[LampImage]:
    """Calibrate and combine the exposures of each lamp, several lamps at a time.

    A lamp that cannot be used is left out with a note.

    Raises
    ------
    InputError
        If none can.
    """
    plan = overscan_plan(p)

    def attempted(group: tuple[Lamps, list[RawFile]]) -> LampImage | str:
        lamps, raws = group
        # one exposure is taken as it is, by whatever method
        combine = CombinePlan(p.combine) if len(raws) > 1 else CombinePlan("median")
        try:
            job = job_of(ifu, inputs.found, p, exposures_needed(combine), raws)
            return _combined(lamps, job, combine, plan, room)
        except InputError as error:
            return f"{lamps}: {error}"

    outcomes = spread(attempted, inputs.groups, threads)
    made = [one for one in outcomes if not isinstance(one, str)]
    reasons = [one for one in outcomes if isinstance(one, str)]
    if not made:
        raise InputError("", "; ".join(reasons))
    if reasons:
        made[0] = replace(made[0], notes=(*made[0].notes, *(f"IFU {ifu}: {text}" for text in reasons)))
    return made


def _combined(
    lamps: Lamps, job: RawJob, combine: CombinePlan, plan: OverscanPlan, room: ImageRoom
) -> LampImage:
    models = measure_overscan(job, plan)
    image = room.new(job.own.shape)
    if len(job.raws) == 1:
        combine = CombinePlan("median")
    for band in combined_bands(job, models, combine, [1.0] * len(job.raws)):
        image.put(band.first, band.combined)
    return LampImage(lamps, job, image, models, tuple(exposure_notes(job, models)))


def images_by_lamp(made: list[LampImage]) -> Mapping[str, LampImage]:
    """Return the image in which the lines of a lamp are measured: that with the fewest lamps on."""
    chosen: dict[str, LampImage] = {}
    for image in sorted(made, key=lambda one: len(one.lamps.names)):
        for name in image.lamps.names:
            chosen.setdefault(name, image)
    return chosen


def slice_window(number: int, traces: SliceTraces, images: Mapping[str, LampImage], nx: int) -> SliceWindow:
    """Read the part of all images around slice ``number`` (from 0)."""
    left, right, middle = traces.left[number], traces.right[number], traces.middle[number]
    x0 = max(int(np.floor(min(left.min(), middle.min() - 2))) - MARGIN, 0)
    x1 = min(int(np.ceil(max(right.max(), middle.max() + 3))) + MARGIN, nx)
    if x1 <= x0:
        raise InputError("", f"slice {number + 1}", expected="a slice on the detector", found="none")
    part = Window(0, left.size, x0, x1)
    read: dict[int, Image] = {}
    for one in images.values():
        if id(one) not in read:
            # one layout for the kernels, wherever the image is
            data, stat, dq = one.image.window(part)
            arrays = np.ascontiguousarray(data), np.ascontiguousarray(stat), np.ascontiguousarray(dq)
            read[id(one)] = Image(*arrays)
    return SliceWindow({name: read[id(one)] for name, one in images.items()}, x0, left, right, nx)
