# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_scibasic for one IFU, and the loop over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from muse_core.basic import products
from muse_core.basic.adaptive_optics import Strehl, read_strehl
from muse_core.basic.inputs import BasicInputs, Exposure, IfuJob, job_of, used_frames
from muse_core.basic.merged import MergedFiles
from muse_core.basic.sky_lines import SkyLinePlan, WavelengthShift
from muse_core.basic.slice_image import slice_image
from muse_core.basic.table import EVERYTHING, IfuPixels, crop_range, ifu_pixels, illum_model, make_table
from muse_core.detector.calibrate import ExposureModel
from muse_core.detector.combine import combine_images
from muse_core.detector.dcr import CosmicPlan
from muse_core.detector.exposure import CalibratedExposure, Image, calibrate_exposure
from muse_core.detector.pixels import build_pixel_map, cut_slices
from muse_core.detector.plan import OverscanPlan, combine_plan, overscan_plan
from muse_core.framework.errors import InputError, RecipeError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frame, Frames
from muse_core.framework.spec import ParamValues

if TYPE_CHECKING:
    import numpy.typing as npt

BYTES_PER_PIXEL = (
    30  # of a detector, at the peak of an IFU: image, raw frame, flags and values of the flat field
)
BAND_ROWS = 64
PREPARE_BYTES = 1_500_000_000  # IFUs worked on at the same time fit in this, whatever the budget
DEFAULT_REJECT = (15.0, 15.0, 1.0)


@dataclass(frozen=True)
class BasicPlan:
    """The recipe's parameters, as the steps take them."""

    overscan: OverscanPlan
    cosmics: CosmicPlan | None
    sky: SkyLinePlan

    @classmethod
    def from_parameters(cls, p: ParamValues, ctx: RunContext) -> BasicPlan:
        """Take the plan from the recipe's parameters."""
        cosmics = CosmicPlan(p.xbox, p.ybox, p.passes, p.thres) if p.cr == "dcr" else None
        reject = (*p.skyreject, *DEFAULT_REJECT[len(p.skyreject) :])
        sky = SkyLinePlan(
            p.skylines,
            p.skyhalfwidth,
            p.skybinsize,
            (reject[0], reject[1], reject[2]),
            believe_all=ctx.defects.shifts_without_line,
        )
        return cls(overscan_plan(p), cosmics, sky)


@dataclass(frozen=True)
class IfuResult:
    """What is kept of one IFU of one exposure, for the log and the quality page.

    Attributes
    ----------
    exposure : Exposure
    ifu : int
    model : ExposureModel or None
        Overscan levels (None for images that were reduced before).
    saturated : int
        Pixels of the image.
    hits : int or None
        Cosmic-ray hits, if they were looked for.
    rows : int
    shift : WavelengthShift
    preview : float32[ny, nx] or None
        Thumbnail of the image, for the quality page.
    notes : tuple of str
    """

    exposure: Exposure
    ifu: int
    model: ExposureModel | None
    saturated: int
    hits: int | None
    rows: int
    shift: WavelengthShift
    preview: npt.NDArray[np.float32] | None
    notes: tuple[str, ...]


@dataclass
class BasicResults:
    """All IFUs that were made, and why others were not (by exposure and IFU)."""

    made: list[IfuResult] = field(default_factory=list)
    failed: dict[tuple[str, int], str] = field(default_factory=dict)


def process(inputs: BasicInputs, frames: Frames, p: ParamValues, ctx: RunContext) -> BasicResults:
    """Make the products of all IFUs, several at a time; an IFU that fails does not stop the others."""
    plan = BasicPlan.from_parameters(p, ctx)
    results = BasicResults()
    with MergedFiles(ctx) as merged:
        worker = IfuWorker(inputs, plan, used_frames(frames), merged if p.merge else None, p, ctx)
        _run_all(worker.process, inputs, results, ctx)
        merged.finish()
    ctx.products.sort(key=lambda product: product.path.name)
    _report(inputs, results, ctx)
    return results


def _run_all(
    work: Callable[[int], list[IfuResult | tuple[Exposure, int, str]]],
    inputs: BasicInputs,
    results: BasicResults,
    ctx: RunContext,
) -> None:
    """Run the IFUs on threads and log what came of them, in their order."""
    size = max(_bytes_per_ifu(inputs), 1)
    workers = int(np.clip(max(ctx.memory_bytes, PREPARE_BYTES) // size, 1, max(ctx.threads, 1)))
    with ThreadPoolExecutor(workers) as pool:
        for outcome in ctx.progress(pool.map(work, inputs.ifus), "IFUs", total=len(inputs.ifus)):
            for result in outcome:
                if isinstance(result, IfuResult):
                    results.made.append(result)
                    _log_result(result, ctx)
                else:
                    exposure, ifu, reason = result
                    results.failed[exposure.name, ifu] = reason
                    ctx.log.error("%s, IFU %d: no product: %s", exposure.name, ifu, reason)


def _bytes_per_ifu(inputs: BasicInputs) -> int:
    sizes = [
        int(np.prod(quadrants[0].frame_shape))
        for exposure in inputs.exposures
        for raw in exposure.raws
        for quadrants in raw.quadrants.values()
    ]
    together = max(len(exposure.raws) for exposure in inputs.exposures)
    return max(sizes, default=0) * (BYTES_PER_PIXEL + 12 * (together - 1))


def _log_result(result: IfuResult, ctx: RunContext) -> None:
    for note in result.notes:
        ctx.log.warning("%s", note)
    if result.hits is not None:
        ctx.log.info(
            "Cosmic ray rejection in IFU %d found %d affected pixels in image %d",
            result.ifu, result.hits, result.exposure.number,
        )  # fmt: skip
    if result.shift.fits:
        used = len(result.shift.fits) - len(result.shift.doubts)
        ctx.log.info(
            "Skyline correction (%d lines): shifting data of IFU %d by %.4f Angstrom",
            used, result.ifu, result.shift.value,
        )  # fmt: skip
    for doubt in result.shift.doubts:
        ctx.log.warning("IFU %d: sky line not used, %s", result.ifu, doubt)


def _report(inputs: BasicInputs, results: BasicResults, ctx: RunContext) -> None:
    """Sum up, and fail if nothing was made."""
    for warning in dict.fromkeys(inputs.warnings):
        ctx.log.warning("%s", warning)
    if inputs.failed:
        missing = ", ".join(map(str, sorted(inputs.failed)))
        ctx.log.warning("not in the raw data: IFU %s", missing)
    if results.failed:
        failed = sorted({ifu for _, ifu in results.failed})
        ctx.log.warning(
            "%d of %d IFUs failed, see above: %s",
            len(failed), len(inputs.ifus), ", ".join(map(str, failed)),
        )  # fmt: skip
    if not results.made:
        reasons = "; ".join(dict.fromkeys(results.failed.values()))
        raise RecipeError(f"no IFU could be processed: {reasons}")
    ctx.log.info("%d pixel tables", len(results.made))


@dataclass
class IfuWorker:
    """Makes all products of one IFU; several threads call `process`."""

    inputs: BasicInputs
    plan: BasicPlan
    used: list[Frame]
    merged: MergedFiles | None
    p: ParamValues
    ctx: RunContext

    def process(self, ifu: int) -> list[IfuResult | tuple[Exposure, int, str]]:
        """Return the results, and the reasons for what could not be made."""
        return list(self._exposures(ifu))

    def _exposures(self, ifu: int) -> Iterator[IfuResult | tuple[Exposure, int, str]]:
        shared: tuple[IfuPixels, str] | None = None
        for exposure in self.inputs.exposures:
            notes: list[str] = []
            try:
                job = job_of(exposure, ifu, self.inputs, self.p, notes)
                if shared is None or shared[1] != job.own.mode or shared[0].shape != job.own.shape:
                    shared = self._shared(job), job.own.mode
                yield self._make(exposure, job, shared[0], notes)
            except InputError as error:
                yield exposure, ifu, str(error)

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
        header = products.product_header(exposure, own.ifu, self.used, own.lamp_flux)
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


def thumbnail(image: Image, size: int = 220) -> npt.NDArray[np.float32]:
    """A small picture of an image: every n-th pixel, NaN where it is flagged."""
    ny, nx = image.data.shape
    step_y, step_x = max(ny // size, 1), max(nx // size, 1)
    small = image.data[::step_y, ::step_x].copy()
    small[image.dq[::step_y, ::step_x] != 0] = np.nan
    return small
