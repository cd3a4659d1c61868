# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_wavecal for one IFU, and the loop over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from muse_core.arcs import products
from muse_core.arcs.identify import MatchPlan
from muse_core.arcs.images import LampImage, images_by_lamp, lamp_images, slice_window
from muse_core.arcs.inputs import ArcInputs, SliceTraces, slice_traces
from muse_core.arcs.line_fits import LineFitPlan
from muse_core.arcs.slices import SliceResult, WavecalPlan, solve_slice
from muse_core.arcs.solution import FitPlan
from muse_core.arcs.straight import straight_image
from muse_core.arcs.summed import sum_of_lamps
from muse_core.arcs.wavelength_ranges import line_ranges
from muse_core.detector.combined import BYTES_PER_PIXEL
from muse_core.detector.image import ImageRoom
from muse_core.detector.master_products import MasterFiles
from muse_core.detector.masters_run import (
    IfuRun,
    finish,
    run_ifus,
    spread,
    tell_absent,
    threads_within,
    workers_for,
)
from muse_core.detector.merged import is_merged
from muse_core.detector.tables import NSLICE, missing_ifu
from muse_core.framework.errors import InputError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.spec import ParamValues

LINESIGMA, FITSIGMA = 2.5, 3.0  # where the parameter is negative
DISK_SHARE = 8  # images in memory may take one part in eight of the budget
BAND_BYTES = 3_000_000  # of bands of exposures, for each exposure
RESAMPLED = 12  # bytes for each pixel that ``resample`` takes: the image of the slices, twice, and sums
EXTRAPOLATED = 150.0  # Angstrom without lines at an end of the range that are told


@dataclass(frozen=True)
class IfuWavelengths:
    """What came of one IFU.

    Attributes
    ----------
    ifu : int
    shape : tuple of int
        Of the detector.
    slices : tuple of SliceResult
        All 48.
    saturated : tuple of (str, int)
        Lamp and number of saturated pixels of its image.
    notes : tuple of str
    open_ends : tuple of float or None
        First and last wavelength of the lines, where the lamps leave an end of the range free.
    """

    ifu: int
    shape: tuple[int, int]
    slices: tuple[SliceResult, ...]
    saturated: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    open_ends: tuple[float, float] | None = None


def wavecal_plan(p: ParamValues, mode: str, *, use_flagged: bool) -> WavecalPlan:
    """Take the plan from the recipe's parameters."""
    linesigma = p.linesigma if p.linesigma > 0 else LINESIGMA
    fitsigma = p.fitsigma if p.fitsigma > 0 else FITSIGMA
    return WavecalPlan(
        p.sigma,
        MatchPlan(p.dres, p.tolerance),
        LineFitPlan(p.xorder, linesigma, p.fitweighting, use_flagged),
        FitPlan(p.xorder, p.yorder, fitsigma, p.fitweighting != "uniform"),
        line_ranges(mode),
        p.lampwise,
    )


def process(inputs: ArcInputs, frames: Frames, p: ParamValues, ctx: RunContext) -> IfuRun[IfuWavelengths]:
    """Make the products of all IFUs, several at a time; an IFU that fails does not stop the others."""
    plan = wavecal_plan(p, inputs.mode, use_flagged=ctx.defects.flagged_pixels_in_line_fits)
    workers, on_disk = share_memory(inputs, ctx, RESAMPLED * p.resample)
    within = threads_within(inputs.found.ifus, workers, ctx)
    maker = WavecalMaker(inputs, plan, frames, p, on_disk, within)
    ctx.log.info(
        "Using polynomial orders %d (x) and %d (y), %s weighting, assuming initial sampling of 1.250 "
        "+/- %.3f Angstrom/pix", p.xorder, p.yorder, p.fitweighting, p.dres,
    )  # fmt: skip
    run = run_ifus(
        maker, inputs.found.ifus, workers, ctx, lambda result: tell(result, ctx), merge=is_merged(p)
    )
    tell_absent(inputs.found.absent, inputs.found.files.found["TRACE_TABLE"], ctx)
    finish(run, ctx)
    return run


def share_memory(inputs: ArcInputs, ctx: RunContext, more: int = 0) -> tuple[int, bool]:
    """Number of IFUs worked on at the same time, and whether their images are kept on disk.

    ``more``: bytes for each pixel of a detector that an IFU takes besides.
    """
    sizes = [
        int(np.prod(quadrants[0].frame_shape))
        for raw in inputs.found.raws
        for quadrants in raw.quadrants.values()
    ]
    pixels = max(sizes, default=1)
    images = BYTES_PER_PIXEL * pixels * len(inputs.groups)
    on_disk = images * max(ctx.threads, 1) > ctx.memory_bytes // DISK_SHARE
    exposures = max(len(raws) for _, raws in inputs.groups)
    size = (4 + more) * pixels + BAND_BYTES * exposures + (0 if on_disk else images)
    return workers_for(size, ctx), on_disk


@dataclass(frozen=True)
class WavecalMaker:
    """Makes all products of one IFU (see `IfuMaker`)."""

    inputs: ArcInputs
    plan: WavecalPlan
    frames: Frames
    p: ParamValues
    on_disk: bool = False
    threads: int = 1

    def __call__(self, ifu: int, files: MasterFiles, ctx: RunContext) -> IfuWavelengths:
        """Return the solutions of an IFU, its products written.

        Raises
        ------
        InputError
            With the reason why there are none.
        """
        with ImageRoom(ctx.workdir, on_disk=self.on_disk) as room:
            made = lamp_images(ifu, self.inputs, self.p, room, self.threads)
            own = made[0].job.own
            if ifu not in self.inputs.traces:
                raise missing_ifu("TRACE_TABLE", self.inputs.found.files.paths.get("TRACE_TABLE", ()), ifu)
            traces = slice_traces(
                self.inputs.traces[ifu], own.shape, self.inputs.found.files.file_of("TRACE_TABLE", ifu), ifu
            )
            width = own.shape[1]
            together = sum_of_lamps(made, room) if self.p.resample or not self.p.lampwise else None
            images = images_by_lamp(made if self.p.lampwise or together is None else [together])
            slices = tuple(
                spread(lambda number: self._solve(number, images, traces, width), range(NSLICE), self.threads)
            )
            if all(one.solution is None for one in slices):
                reasons = ", ".join(dict.fromkeys(one.reason for one in slices))
                tables = products.named(self.frames, ("LINE_CATALOG", "TRACE_TABLE"))
                orders = f"xorder={self.p.xorder}, yorder={self.p.yorder}, sigma={self.p.sigma:g}"
                text = f"no slice has a wavelength solution ({tables}, {orders}): {reasons}"
                raise InputError("", text)
            self._save(made, slices, traces, together, files)
            saturated = tuple((str(one.lamps), one.image.nsaturated) for one in made)
        notes = tuple(dict.fromkeys(note for one in made for note in one.notes))
        return IfuWavelengths(ifu, own.shape, slices, saturated, notes, open_ends(slices, self.plan.ranges))

    def _solve(
        self, number: int, images: Mapping[str, LampImage], traces: SliceTraces, nx: int
    ) -> SliceResult:
        """Return the solution of slice ``number`` (from 0)."""
        if not traces.usable[number]:
            return SliceResult(number + 1, reason="its trace polynomials are missing")
        try:
            window = slice_window(number, traces, images, nx)
        except InputError as error:
            return SliceResult(number + 1, reason=str(error))
        return solve_slice(number + 1, window, traces.middle[number], self.inputs.catalog, self.plan)

    def _save(
        self,
        made: list[LampImage],
        slices: tuple[SliceResult, ...],
        traces: SliceTraces,
        together: LampImage | None,
        files: MasterFiles,
    ) -> None:
        """Write the products of an IFU; ``together``: the image of all lamps, if it was made."""
        header = products.header_of(made, self.frames, self.inputs.found.tags)
        if self.p.saveimages:
            for number, one in enumerate(made, 1):
                own = products.header_of_lamp(one, self.frames)
                files.image("ARC_RED_LAMP", one.image, own, products.lamp_cards(one), series=number)
            if together is not None:
                own = products.header_of_lamp(together, self.frames)
                files.image("ARC_RED", together.image, own, products.sum_cards(together, made), series=1)
        orders = self.p.xorder, self.p.yorder
        columns = products.table_columns(slices, orders)
        summed = [] if together is None else [products.saturated_sum(together)]
        cards = products.table_cards(made, slices, summed, lampwise=self.p.lampwise)
        files.table("WAVECAL_TABLE", columns, header, cards, extra=products.failed_card(slices))
        if self.p.wavemap:
            image = products.wave_map(slices, traces, made[0].job.own.shape)
            files.picture("WAVE_MAP", image, [("BUNIT", "Angstrom", "")], header, series=1)
        if self.p.resample and together is not None:
            edges = self.inputs.traces[header.ifu][:, 1:]
            wave = products.solutions(slices, orders)
            image, axes = straight_image(together.image, header.ifu, edges, wave, self.inputs.mode)
            # measured against 2.8.7: the exposures of the first lamp are named
            own = replace(header, used=products.used_by(made[:1], self.frames, self.inputs.found.tags))
            files.picture("ARC_RESAMPLED", image, axes, own, series=1)
        if self.p.residuals:
            overscan = products.overscan_cards(made[0].models[0])
            files.table("WAVECAL_RESIDUALS", products.residual_columns(slices), header, overscan)


def open_ends(
    slices: tuple[SliceResult, ...], ranges: tuple[tuple[float, float], ...]
) -> tuple[float, float] | None:
    """First and last wavelength of the fitted lines if one of them leaves an end of the range free."""
    ends = [
        (one.solution.last.points.lam.min(), one.solution.last.points.lam.max())
        for one in slices
        if one.solution is not None
    ]
    low, high = max(low for low, _ in ends), min(high for _, high in ends)
    free = low > ranges[0][0] + EXTRAPOLATED or high < ranges[-1][1] - EXTRAPOLATED
    return (float(low), float(high)) if free else None


def tell(result: IfuWavelengths, ctx: RunContext) -> None:
    """Log what came of one IFU."""
    for note in result.notes:
        ctx.log.warning("%s", note)
    solved = [one for one in result.slices if one.solution is not None]
    for one in result.slices:
        if one.solution is None:
            ctx.log.warning(
                "slice %d of IFU %d: no wavelength solution: %s", one.number, result.ifu, one.reason
            )
            continue
        ctx.log.debug(
            "Identified %d of %d detected arc lines in slice %d of IFU %d (column %d)",
            one.identified.lam.size, one.detected, one.number, result.ifu, one.column,
        )  # fmt: skip
        ctx.log.debug(
            "Polynomial fit of %d of %d positions in slice %d of IFU %d gave an RMS of %f Angstrom",
            one.solution.last.points.x.size, one.solution.measured, one.number, result.ifu, one.solution.rms,
        )  # fmt: skip
    rms = np.array([one.solution.rms for one in solved if one.solution is not None])
    widths = np.concatenate([one.widths for one in solved])
    resolution = f", resolution {np.mean(widths[:, 0] / widths[:, 1]):.0f}" if widths.size else ""
    ctx.log.info(
        "IFU %d: %d slices; %d to %d lines detected, %d to %d identified, %d to %d in the fit; rms %.4f "
        "Angstrom (%.4f to %.4f)%s",
        result.ifu, len(solved), *_ends([one.detected for one in solved]),
        *_ends([int(one.identified.lam.size) for one in solved]),
        *_ends([one.solution.lines for one in solved if one.solution is not None]),
        rms.mean(), rms.min(), rms.max(), resolution,
    )  # fmt: skip
    if result.open_ends:
        ctx.log.warning(
            "IFU %d: no line below %.0f Angstrom or above %.0f is used; wavelengths beyond are extrapolated "
            "(are exposures of a lamp missing?)", result.ifu, *result.open_ends,
        )  # fmt: skip


def _ends(numbers: list[int]) -> tuple[int, int]:
    return min(numbers), max(numbers)
