# SPDX-License-Identifier: BSD-3-Clause
"""What muse_bias, muse_dark and muse_flat do alike: open, run all IFUs, write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from muse_core.detector.combined import memory_per_ifu
from muse_core.detector.headers import overscan_cards
from muse_core.detector.image import thumbnail
from muse_core.detector.master_products import MasterFiles
from muse_core.detector.masters_run import IfuRun, finish, run_ifus, tell_absent, workers_for
from muse_core.detector.merged import is_merged
from muse_core.detector.raw_levels import check_levels
from muse_core.detector.raw_sets import RawJob, RawSet, job_of, open_raw_set
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


@dataclass(frozen=True)
class MasterMaker(ABC, Generic[F]):
    """Makes and writes the products of one IFU (see `IfuMaker`).

    Attributes
    ----------
    found : RawSet
    frames : Frames
    p : ParamValues
    """

    found: RawSet
    frames: Frames
    p: ParamValues
    extra_bytes: ClassVar[int] = 0
    """Memory per pixel that it takes beside the combined image."""

    def __call__(self, ifu: int, files: MasterFiles, ctx: RunContext) -> F:
        """Return the figures of an IFU, its products written."""
        return self.make(job_of(ifu, self.found, self.p, LEAST), files, ctx)

    @abstractmethod
    def make(self, job: RawJob, files: MasterFiles, ctx: RunContext) -> F:
        """Return the figures of an IFU whose raw frames and calibrations belong together."""


def open_masters(
    tag: str, frames: Frames, required: Sequence[str], p: ParamValues, ctx: RunContext
) -> RawSet:
    """Open raw frames of a tag and their calibrations (see `open_raw_set`)."""
    found = open_raw_set(frames, (tag,), required, p, ctx)
    check_levels(found.raws, tag, found.ifus, ctx)
    return found


def process(maker: MasterMaker[F], ctx: RunContext) -> IfuRun[F]:
    """Make the products of all IFUs, several at a time; an IFU that fails does not stop the others."""
    found, p = maker.found, maker.p

    def tell(figures: F) -> None:
        for note in figures.notes:
            ctx.log.warning("%s", note)
        ctx.log.info("IFU %d: %s", figures.ifu, figures.summary)

    workers = workers_for(_memory(found, maker.extra_bytes), ctx)
    run = run_ifus(maker, found.ifus, workers, ctx, tell, merge=is_merged(p))
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


@dataclass(frozen=True)
class BiasMaker(MasterMaker[BiasFigures]):
    """muse_bias: how an IFU is made."""

    def make(self, job: RawJob, files: MasterFiles, ctx: RunContext) -> BiasFigures:
        """See `MasterMaker`."""
        result = make_bias(job, BiasPlan.from_parameters(self.p), ctx.defects)
        header = job.header(self.frames, self.found.tags)
        files.image("MASTER_BIAS", result.image, header, bias_cards(result), unit="adu")
        preview = thumbnail(result.image) if ctx.report_requested else None
        notes = (*job.notes, *result.notes)
        return BiasFigures(job.ifu, result.models, result.quadrants, result.bad, preview, notes)


@dataclass(frozen=True)
class FlatMaker(MasterMaker[FlatFigures]):
    """muse_flat: how an IFU is made."""

    extra_bytes: ClassVar[int] = 4

    def make(self, job: RawJob, files: MasterFiles, ctx: RunContext) -> FlatFigures:
        """See `MasterMaker`."""
        result = make_flat(job, FlatPlan.from_parameters(self.p), ctx.defects)
        header = job.header(self.frames, self.found.tags)
        trace = result.trace
        preview = thumbnail(result.image, FLAT_PREVIEW) if ctx.report_requested else None
        if trace is not None:
            overscan = overscan_cards(result.exposures.models[0])
            cards = [*trace_cards(trace, job.own.shape[0]), *overscan]
            files.table("TRACE_TABLE", trace_columns(trace), header, cards)
            if self.p.samples:
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


@dataclass(frozen=True)
class DarkMaker(MasterMaker[DarkFigures]):
    """muse_dark: how an IFU is made."""

    extra_bytes: ClassVar[int] = 8

    def make(self, job: RawJob, files: MasterFiles, ctx: RunContext) -> DarkFigures:
        """See `MasterMaker`."""
        plan = DarkPlan.from_parameters(self.p)
        drift = ctx.defects.windows_of_other_ifus and self.p.nifu == 0
        result = make_dark(job, plan, self.found.ifus.index(job.ifu) if drift else 0)
        header = dark_header(job.header(self.frames, self.found.tags), result, plan)
        files.image("MASTER_DARK", result.image, header, dark_cards(result))
        preview = thumbnail(result.image) if ctx.report_requested else None
        return DarkFigures(
            job.ifu, result.statistics, result.current, result.error, result.bad, result.exptime, preview,
            result.exposures.notes,
        )  # fmt: skip
