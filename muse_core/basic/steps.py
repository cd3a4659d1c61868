# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_scibasic for one IFU, and the loop over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muse_core.basic import products
from muse_core.basic.adaptive_optics import Strehl, read_strehl
from muse_core.basic.inputs import BasicInputs, Exposure, IfuJob, job_of, used_frames
from muse_core.basic.merged import MergedFiles
from muse_core.basic.results import (
    BasicResults,
    Failure,
    IfuResult,
    run_all,
    sum_up,
    thumbnail,
    workers_for,
)
from muse_core.basic.sky_lines import SkyLinePlan
from muse_core.basic.slice_image import slice_image
from muse_core.basic.table import EVERYTHING, IfuPixels, crop_range, ifu_pixels, illum_model, make_table
from muse_core.detector.combine import combine_images
from muse_core.detector.dcr import CosmicPlan
from muse_core.detector.exposure import CalibratedExposure, CosmicFinders, Image, calibrate_exposure
from muse_core.detector.lacosmic import LaplacePlan
from muse_core.detector.pixels import build_pixel_map, cut_slices
from muse_core.detector.plan import OverscanPlan, combine_plan, overscan_plan
from muse_core.framework.errors import InputError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.spec import ParamValues

if TYPE_CHECKING:
    pass

BYTES_PER_PIXEL = (
    30  # of a detector, at the peak of an IFU: image, raw frame, flags and values of the flat field
)
BAND_ROWS = 64
DEFAULT_REJECT = (15.0, 15.0, 1.0)


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
        reject = (*p.skyreject, *DEFAULT_REJECT[len(p.skyreject) :])
        sky = SkyLinePlan(
            p.skylines,
            p.skyhalfwidth,
            p.skybinsize,
            (reject[0], reject[1], reject[2]),
            believe_all=ctx.defects.shifts_without_line,
        )
        return cls(overscan_plan(p), cosmics, sky)


def process(inputs: BasicInputs, frames: Frames, p: ParamValues, ctx: RunContext) -> BasicResults:
    """Make the products of all IFUs, several at a time; an IFU that fails does not stop the others."""
    plan = BasicPlan.from_parameters(p, ctx)
    results = BasicResults()
    workers = workers_for(bytes_per_ifu(inputs), ctx)
    with MergedFiles(ctx) as merged:
        worker = IfuWorker(inputs, plan, frames, merged if p.merge else None, p, ctx)
        run_all(worker.process, inputs.ifus, workers, results, ctx)
        merged.finish()
    for warning in dict.fromkeys(inputs.warnings):
        ctx.log.warning("%s", warning)
    sum_up(inputs.ifus, inputs.failed, results, ctx)
    return results


def bytes_per_ifu(inputs: BasicInputs) -> int:
    sizes = [
        int(np.prod(quadrants[0].frame_shape))
        for exposure in inputs.exposures
        for raw in exposure.raws
        for quadrants in raw.quadrants.values()
    ]
    together = max(len(exposure.raws) for exposure in inputs.exposures)
    return max(sizes, default=0) * (BYTES_PER_PIXEL + 12 * (together - 1))


@dataclass
class IfuWorker:
    """Makes all products of one IFU; several threads call `process`."""

    inputs: BasicInputs
    plan: BasicPlan
    frames: Frames
    merged: MergedFiles | None
    p: ParamValues
    ctx: RunContext

    def process(self, ifu: int) -> list[IfuResult | Failure]:
        """Return the results, and the reasons for what could not be made."""
        return list(self._exposures(ifu))

    def _exposures(self, ifu: int) -> Iterator[IfuResult | Failure]:
        shared: tuple[IfuPixels, str] | None = None
        for exposure in self.inputs.exposures:
            notes: list[str] = []
            try:
                job = job_of(exposure, ifu, self.inputs, self.p, notes)
                if shared is None or shared[1] != job.own.mode or shared[0].shape != job.own.shape:
                    shared = self._shared(job), job.own.mode
                yield self._make(exposure, job, shared[0], notes)
            except InputError as error:
                yield Failure(exposure, ifu, str(error))

    def _shared(self, job: IfuJob) -> IfuPixels:
        own = job.own
        limits = crop_range(own.mode)[0] if self.p.crop else EVERYTHING
        pixels = build_pixel_map(own.ifu, own.shape, own.trace, own.wave, own.geometry, own.mode)
        return ifu_pixels(pixels, limits, own.shape, own.flat)

    def _make(self, exposure: Exposure, job: IfuJob, shared: IfuPixels, notes: list[str]) -> IfuResult:
        own, p, ctx = job.own, self.p, self.ctx
        done = self._calibrated(job)
        notes += [f"IFU {own.ifu}: {note}" for note in done.model.notes]
        notes += [f"IFU {own.ifu}: slice {s} leaves the detector" for s in cut_slices(shared.pixels)]
        header = products.product_header(exposure, own.ifu, used_frames(self.frames, exposure), own.lamp_flux)
        overscan = products.overscan_cards(done)
        if p.saveimage:
            if self.merged is None:
                products.save_image(done.image, overscan, header, ctx)
            else:
                self.merged.add_image(done.image, overscan, header)
        strehl, warning = self._strehl(exposure, own.mode)
        notes += [warning] if warning else []
        illum = None
        if job.illum is not None:
            illum = illum_model(calibrate_exposure(job.illum, own, self.plan.overscan).image, shared)
            if illum is None:
                notes.append(f"IFU {own.ifu}: ILLUM not used: nothing between 6500 and 7500 Angstrom")
        table = make_table(done.image, shared, self.plan.sky, illum, self.inputs.cubes)
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

    def _strehl(self, exposure: Exposure, mode: str) -> tuple[Strehl | None, str]:
        if not mode.startswith("NFM"):
            return None, ""
        return read_strehl(exposure.raws[0].path)

    def _calibrated(self, job: IfuJob) -> CalibratedExposure:
        """The image of the exposure, or of all exposures combined."""
        done = [calibrate_exposure(raw, job.own, self.plan.overscan, self.plan.cosmics) for raw in job.raws]
        if len(done) == 1 and self.p.combine == "none":
            return done[0]
        images = [one.image for one in done]
        if self.p.scale:
            for raw, image in zip(job.raws[1:], images[1:], strict=True):
                factor = np.float32(job.raws[0].exptime / raw.exptime)
                image.data[...] *= factor
                image.stat[...] *= factor * factor
        return CalibratedExposure(combined_image(images, self.p), done[0].model, done[0].hits)


def combined_image(images: list[Image], p: ParamValues) -> Image:
    """Combine calibrated exposures pixel by pixel (``combine``)."""
    plan = combine_plan(p)
    ny, nx = images[0].data.shape
    result = Image.empty((ny, nx))
    for first in range(0, ny, BAND_ROWS):
        last = min(first + BAND_ROWS, ny)
        bands = [image.rows(first, last) for image in images]
        data, stat, dq = (np.stack(planes) for planes in zip(*bands, strict=True))
        combine_images(data, stat, dq, plan, *result.rows(first, last))
    return result
