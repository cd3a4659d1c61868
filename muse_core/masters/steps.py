# SPDX-License-Identifier: BSD-3-Clause
"""What muse_bias, muse_dark and muse_flat do alike: open, run all IFUs, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from muse_core.detector.combined import memory_per_ifu
from muse_core.detector.headers import overscan_cards
from muse_core.detector.image import thumbnail
from muse_core.detector.master_products import MasterFiles
from muse_core.detector.masters_run import IfuRun, finish, run_ifus, tell_absent, workers_for
from muse_core.detector.raw_sets import RawJob, RawSet, job_of, open_raw_set
from muse_core.framework.errors import InputError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.spec import ParamValues
from muse_core.masters.bias import BiasPlan, bias_cards, make_bias
from muse_core.masters.dark import DarkPlan, dark_cards, dark_header, make_dark
from muse_core.masters.flat import (
    FlatPlan,
    flat_cards,
    make_flat,
    sample_columns,
    trace_cards,
    trace_columns,
)
from muse_core.masters.results import BiasFigures, DarkFigures, FlatFigures

FLAT_PREVIEW = 700  # pixels of the picture of a flat, over which traces are drawn
LEAST = 3
"""Exposures that make a master, however they are combined (measured against 2.8.7)."""


class Figures(Protocol):
    """What is kept of an IFU for log and page."""

    @property
    def ifu(self) -> int:
        """1 to 24."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings."""
        ...

    @property
    def summary(self) -> str:
        """One line for the log."""
        ...


F = TypeVar("F", bound=Figures)


Maker = Callable[[RawJob, MasterFiles, Frames], F]
"""Makes and writes the products of one IFU; it is called on several threads."""


def open_masters(
    tag: str, frames: Frames, required: Sequence[str], p: ParamValues, ctx: RunContext
) -> RawSet:
    """Open raw frames of a tag and their calibrations (see `open_raw_set`)."""
    return open_raw_set(frames, (tag,), required, p, ctx)


def process(
    maker: Maker[F], found: RawSet, frames: Frames, p: ParamValues, ctx: RunContext, extra_bytes: int = 0
) -> IfuRun[F]:
    """Make the products of all IFUs, several at a time; an IFU that fails does not stop the others.

    Parameters
    ----------
    maker : Maker
    found : RawSet
    frames : Frames
    p : ParamValues
    ctx : RunContext
    extra_bytes : int
        Memory per pixel that the maker takes beside the combined image.
    """
    merge = p.merge and p.nifu in (0, -1)
    with MasterFiles(ctx, merge=merge) as files:

        def work(ifu: int) -> F:
            try:
                return maker(job_of(ifu, found, p, LEAST), files, frames)
            except InputError:
                files.drop(ifu)
                raise

        def tell(figures: F) -> None:
            for note in figures.notes:
                ctx.log.warning("%s", note)
            ctx.log.info("IFU %d: %s", figures.ifu, figures.summary)

        workers = workers_for(_memory(found, extra_bytes), ctx)
        run = run_ifus(work, found.ifus, workers, ctx, tell)
        files.finish(complete=not run.failed)
    tell_absent(found.absent, [ifu for by_ifu in found.files.found.values() for ifu in by_ifu], ctx)
    finish(run, ctx)
    return run


def _memory(found: RawSet, extra_bytes: int) -> int:
    """Bytes that the largest IFU takes."""
    sizes = [1]
    for raw in found.raws:
        for quadrants in raw.quadrants.values():
            first = quadrants[0]
            shape = 2 * first.ny, 2 * first.nx
            size = memory_per_ifu(shape, first.frame_shape, len(found.raws))
            sizes.append(size + extra_bytes * shape[0] * shape[1])
    return max(sizes)


def bias_maker(found: RawSet, p: ParamValues, ctx: RunContext) -> Maker[BiasFigures]:
    """muse_bias: how an IFU is made."""
    plan = BiasPlan.from_parameters(p)

    def make(job: RawJob, files: MasterFiles, frames: Frames) -> BiasFigures:
        result = make_bias(job, plan, ctx.defects)
        files.image(
            "MASTER_BIAS", result.image, job.header(frames, found.tags), bias_cards(result), unit="adu"
        )
        preview = thumbnail(result.image) if ctx.report_requested else None
        notes = (*job.notes, *result.notes)
        return BiasFigures(job.ifu, result.models, result.quadrants, result.bad, preview, notes)

    return make


def flat_maker(found: RawSet, p: ParamValues, ctx: RunContext) -> Maker[FlatFigures]:
    """muse_flat: how an IFU is made."""
    plan = FlatPlan.from_parameters(p)

    def make(job: RawJob, files: MasterFiles, frames: Frames) -> FlatFigures:
        result = make_flat(job, plan, ctx.defects)
        header = job.header(frames, found.tags)
        trace = result.trace
        preview = thumbnail(result.image, FLAT_PREVIEW) if ctx.report_requested else None
        if trace is not None:
            overscan = overscan_cards(result.exposures.models[0])
            cards = [*trace_cards(trace, job.own.shape[0]), *overscan]
            files.table("TRACE_TABLE", trace_columns(trace), header, cards)
            if p.samples:
                files.table("TRACE_SAMPLES", sample_columns(trace), header, overscan)
        files.image("MASTER_FLAT", result.image, header, flat_cards(result))
        return FlatFigures(
            job.ifu,
            result.statistics,
            result.levels,
            trace,
            result.pixels,
            job.own.shape,
            preview,
            result.notes,
        )

    return make


def dark_maker(found: RawSet, p: ParamValues, ctx: RunContext) -> Maker[DarkFigures]:
    """muse_dark: how an IFU is made."""
    plan = DarkPlan.from_parameters(p)
    drift = ctx.defects.windows_of_other_ifus and p.nifu == 0

    def make(job: RawJob, files: MasterFiles, frames: Frames) -> DarkFigures:
        result = make_dark(job, plan, found.ifus.index(job.ifu) if drift else 0)
        header = dark_header(job.header(frames, found.tags), result, plan)
        files.image("MASTER_DARK", result.image, header, dark_cards(result))
        preview = thumbnail(result.image) if ctx.report_requested else None
        return DarkFigures(
            job.ifu, result.statistics, result.current, result.error, result.bad, result.exptime, preview,
            result.exposures.notes,
        )  # fmt: skip

    return make
