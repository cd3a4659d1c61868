# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_scibasic for one IFU, and the loop over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from muse_core.basic import products
from muse_core.basic.inputs import BasicInputs, Exposure, IfuJob, job_of, used_frames
from muse_core.basic.merged import MergedFiles
from muse_core.basic.results import (
    BasicResults,
    Failure,
    IfuOutcome,
    IfuResult,
    run_all,
    sum_up,
    workers_for,
)
from muse_core.basic.sky_lines import SkyLinePlan, reject_limits
from muse_core.basic.slice_image import slice_image
from muse_core.basic.table import EVERYTHING, IfuPixels, ifu_pixels, make_table
from muse_core.detector.combine import combine_images
from muse_core.detector.dcr import CosmicPlan
from muse_core.detector.exposure import CalibratedExposure, CosmicFinders, calibrate_exposure
from muse_core.detector.headers import overscan_cards
from muse_core.detector.illum import IllumModel, illum_model
from muse_core.detector.image import DetectorImage, Image, ImageRoom, band, bands, thumbnail
from muse_core.detector.lacosmic import LaplacePlan
from muse_core.detector.left_out import OF_TABLES, cards_without
from muse_core.detector.merged import is_merged
from muse_core.detector.pixels import build_pixel_map, crop_range
from muse_core.detector.plan import OverscanPlan, combine_plan, overscan_plan
from muse_core.framework.errors import InputError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.spec import ParamValues

IMAGE_BYTES = 12  # of a pixel: data, variance, flags
WORK_BYTES = 6  # of a pixel: the raw frame, bands of the masters, rows of a slice
RESAMPLED_BYTES = 10
DISK_SHARE = 8  # images in memory may take one part in eight of the budget
FINDER_BYTES = 20  # what a finder of cosmic rays takes beside the image


@dataclass(frozen=True)
class BasicPlan:
    """The recipe's parameters, as the steps take them."""

    overscan: OverscanPlan
    cosmics: CosmicFinders
    sky: SkyLinePlan

    @classmethod
    def from_parameters(cls, p: ParamValues, ctx: RunContext) -> BasicPlan:
        """Take the plan from the recipe's parameters."""
        cosmics = CosmicFinders(
            CosmicPlan(p.xbox, p.ybox, p.passes, p.thres) if p.cr == "dcr" else None,
            LaplacePlan(p.lacosmic_sigma, contrast=p.lacosmic_contrast) if p.lacosmic else None,
        )
        sky = SkyLinePlan(
            p.skylines,
            p.skyhalfwidth,
            p.skybinsize,
            reject_limits(p.skyreject),
            believe_all=ctx.defects.shifts_without_line,
            by_slice=p.slicelines,
        )
        return cls(overscan_plan(p), cosmics, sky)


def process(inputs: BasicInputs, frames: Frames, p: ParamValues, ctx: RunContext) -> BasicResults:
    """Make the products of all IFUs, several at a time; an IFU that fails does not stop the others."""
    plan = BasicPlan.from_parameters(p, ctx)
    results = BasicResults()
    pixels = detector_pixels(inputs)
    rooms = plan_memory(pixels, inputs, p, ctx)
    run_all(_Ifus(inputs, plan, frames, rooms.on_disk, p), inputs.ifus, rooms.workers, results, ctx)
    for warning in dict.fromkeys(inputs.warnings):
        ctx.log.warning("%s", warning)
    sum_up(inputs.ifus, inputs.failed, inputs.files.found["TRACE_TABLE"], results, ctx)
    return results


@dataclass(frozen=True)
class MemoryPlan:
    """How many IFUs are worked on at the same time, and whether their images are kept on disk."""

    workers: int
    on_disk: bool


def detector_pixels(inputs: BasicInputs) -> int:
    """Return the pixels of the largest detector."""
    sizes = [
        int(np.prod(quadrants[0].frame_shape))
        for exposure in inputs.exposures
        for raw in exposure.raws
        for quadrants in raw.quadrants.values()
    ]
    return max(sizes, default=1)


def plan_memory(pixels: int, inputs: BasicInputs, p: ParamValues, ctx: RunContext) -> MemoryPlan:
    """Settle how the IFUs share the memory."""
    together = max(len(exposure.raws) for exposure in inputs.exposures)
    images = IMAGE_BYTES * (1 if together == 1 else together + 1)
    on_disk = pixels * images * max(ctx.threads, 1) > ctx.memory_bytes // DISK_SHARE
    finders = p.cr == "dcr" or p.lacosmic
    size = WORK_BYTES + (IMAGE_BYTES if finders or not on_disk else 0)
    size += RESAMPLED_BYTES * p.resample + FINDER_BYTES * p.lacosmic
    if not on_disk:
        size += images - IMAGE_BYTES
    return MemoryPlan(workers_for(pixels * size, ctx), on_disk)


@dataclass(frozen=True)
class _Ifus:
    """How IFUs are made, by the threads here or by others."""

    inputs: BasicInputs
    plan: BasicPlan
    frames: Frames
    on_disk: bool
    p: ParamValues

    def __call__(self, ifu: int, ctx: RunContext) -> IfuOutcome:
        merged = MergedFiles(ctx)
        worker = IfuWorker(
            self.inputs,
            self.plan,
            self.frames,
            merged if is_merged(self.p) else None,
            self.on_disk,
            self.p,
            ctx,
        )
        return IfuOutcome(tuple(worker.exposures(ifu)), tuple(merged.kept.parts))


@dataclass
class IfuWorker:
    """Makes all products of one IFU."""

    inputs: BasicInputs
    plan: BasicPlan
    frames: Frames
    merged: MergedFiles | None
    on_disk: bool
    p: ParamValues
    ctx: RunContext

    def exposures(self, ifu: int) -> Iterator[IfuResult | Failure]:
        """Yield the results, and the reasons for what could not be made."""
        shared: SharedWork | None = None
        for exposure in self.inputs.exposures:
            notes: list[str] = []
            try:
                job = job_of(exposure, ifu, self.inputs, self.p, notes)
                if shared is None or (shared.mode, shared.pixels.shape) != (job.own.mode, job.own.shape):
                    shared = SharedWork(job.own.mode, self._pixels(job))
                with ImageRoom(self.ctx.workdir, on_disk=self.on_disk) as room:
                    yield self._make(exposure, job, shared, room, notes)
            except InputError as error:
                yield Failure(exposure, ifu, str(error))

    def _pixels(self, job: IfuJob) -> IfuPixels:
        own = job.own
        limits = crop_range(own.mode) if self.p.crop else EVERYTHING
        pixels = build_pixel_map(own.ifu, own.shape, own.trace, own.wave, own.geometry, own.mode)
        return ifu_pixels(pixels, limits, own.shape, own.flat)

    def _make(
        self, exposure: Exposure, job: IfuJob, shared: SharedWork, room: ImageRoom, notes: list[str]
    ) -> IfuResult:
        own, p, ctx, pixels = job.own, self.p, self.ctx, shared.pixels
        done = self._calibrated(job, room, notes)
        notes += [f"IFU {own.ifu}: {note}" for note in pixels.pixels.notes]
        used = used_frames(self.frames, exposure, job.raws)
        header = products.product_header(exposure, job.raws[0], own.ifu, used, own.lamp_flux)
        lacking = [] if own.dark is not None else ["MASTER_DARK"]
        overscan = overscan_cards(done.model)
        if p.saveimage:
            of_image = replace(header, flags=cards_without([*lacking, *OF_TABLES], ctx))
            if self.merged is None:
                products.save_image(done.image, overscan, of_image, ctx)
            else:
                self.merged.add_image(done.image, overscan, of_image)
        strehl, warning = self.inputs.strehl.get(job.raws[0].path, (None, ""))
        notes += [warning] if warning else []
        illum = shared.illum_of(job, self.plan.overscan, notes)
        lacking += [] if illum is not None else ["ILLUM"]
        header = replace(header, flags=cards_without(lacking, ctx))
        table = make_table(done.image, pixels, self.plan.sky, illum, self.inputs.cubes)
        saturated = products.saturated_card(done.image)
        products.save_table(table, saturated, strehl, header, ctx, as_table=p.table_layout == "table")
        if p.resample:
            image, cards = slice_image(table, p.dlambda)
            if self.merged is None:
                products.save_resampled(products.resampled_hdu(image, cards), table, header, ctx)
            else:
                self.merged.add_resampled(image, cards, table, header)
        preview = thumbnail(done.image) if ctx.report_requested else None
        return IfuResult(
            exposure, own.ifu, done.model, done.image.nsaturated, done.hits, table.rows, table.shift, preview,
            tuple(notes),
        )  # fmt: skip

    def _calibrated(self, job: IfuJob, room: ImageRoom, notes: list[str]) -> CalibratedExposure:
        """The image of the exposure, or of all exposures combined."""
        done = []
        for raw in job.raws:
            done.append(calibrate_exposure(raw, job.own, self.plan.overscan, room, self.plan.cosmics))
            name = f"{raw.path.name}, " if len(job.raws) > 1 else ""
            notes += [f"{name}IFU {job.own.ifu}: {note}" for note in done[-1].model.notes]
        if len(done) == 1 and self.p.combine == "none":
            return done[0]
        factors = [1.0] * len(done)
        if self.p.scale:
            factors = [job.raws[0].exptime / raw.exptime for raw in job.raws]
        combined = room.new(job.own.shape)
        for first, rows in combined_bands([one.image for one in done], factors, self.p):
            combined.put(first, rows)
        hits = [one.hits for one in done if one.hits is not None]
        return CalibratedExposure(combined, done[0].model, sum(hits) if hits else None)


@dataclass
class SharedWork:
    """What the exposures of one IFU share: its pixels, and the ILLUM, which is reduced when first needed."""

    mode: str
    pixels: IfuPixels
    _illum: tuple[IllumModel | None] | None = None

    def illum_of(self, job: IfuJob, plan: OverscanPlan, notes: list[str]) -> IllumModel | None:
        """Return the illumination of the slices for an exposure; None without ILLUM."""
        if job.illum is None:
            return None
        if self._illum is None:
            self._illum = (illum_model(job.illum, job.own, plan, self.pixels.wavelengths),)
        if self._illum[0] is None:
            notes.append(f"IFU {job.own.ifu}: ILLUM not used: nothing between 6500 and 7500 Angstrom")
        return self._illum[0]


def combined_bands(
    images: Sequence[DetectorImage], factors: Sequence[float], p: ParamValues
) -> Iterator[tuple[int, Image]]:
    """Combine calibrated exposures pixel by pixel (``combine``); yields first rows and bands.

    Parameters
    ----------
    images : sequence of DetectorImage
    factors : sequence of float
        The data of each are multiplied with it first.
    p : ParamValues
    """
    plan = combine_plan(p)
    ny, nx = images[0].shape
    for first, last in bands(ny):
        parts = [band(image, first, last) for image in images]
        data, stat, dq = (np.stack(planes) for planes in zip(*parts, strict=True))
        for i, factor in enumerate(map(np.float32, factors)):
            if factor != 1:
                data[i] *= factor
                stat[i] *= factor * factor
        rows = Image.empty((last - first, nx))
        combine_images(data, stat, dq, plan, *rows)
        yield first, rows
