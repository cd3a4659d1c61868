# SPDX-License-Identifier: BSD-3-Clause
"""The loop over the IFUs of a run: several at a time, failures kept apart, one summary."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from muse_core.basic.complete import complete_card, withdraw
from muse_core.basic.inputs import Exposure
from muse_core.basic.sky_lines import WavelengthShift
from muse_core.detector.calibrate import ExposureModel
from muse_core.detector.merged import ExtensionPart, ExtensionParts
from muse_core.framework.errors import RecipeError
from muse_core.framework.execution import RunContext
from muse_core.framework.log import UNDONE
from muse_core.framework.parts import Part, made_parts

PREPARE_BYTES = 1_500_000_000  # IFUs worked on at the same time fit in this, whatever the budget


class Failure(NamedTuple):
    """An IFU of an exposure that could not be made, and why."""

    exposure: Exposure
    ifu: int
    reason: str


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
    incomplete: set[tuple[str, int]] = field(default_factory=set)


def workers_for(bytes_per_ifu: int, ctx: RunContext) -> int:
    """Number of IFUs that fit in the memory at the same time, at most that of the threads."""
    budget = max(ctx.memory_bytes, PREPARE_BYTES)
    return int(np.clip(budget // max(bytes_per_ifu, 1), 1, max(ctx.threads, 1)))


@dataclass(frozen=True)
class IfuOutcome:
    """What came of an IFU: of some exposures a result, of others the reason why there is none.

    Attributes
    ----------
    parts : tuple of (IfuResult or Failure)
    kept : tuple of ExtensionPart
        Extensions for the files of all IFUs.
    """

    parts: tuple[IfuResult | Failure, ...]
    kept: tuple[ExtensionPart, ...] = ()


def run_all(
    work: Part[int, IfuOutcome], ifus: Sequence[int], workers: int, results: BasicResults, ctx: RunContext
) -> None:
    """Make the IFUs and log what came of them, in their order; write the files of all of them."""
    kept = ExtensionParts()
    try:
        for outcome in made_parts(work, ifus, workers, ctx):
            kept.take(outcome.kept)
            for result in outcome.parts:
                if isinstance(result, IfuResult):
                    results.made.append(result)
                    _log_result(result, ctx)
                else:
                    results.failed[result.exposure.name, result.ifu] = result.reason
                    results.incomplete.add((result.exposure.tag, result.exposure.number))
                    ctx.log.error(
                        "%s, IFU %d: no product: %s", result.exposure.name, result.ifu, result.reason
                    )
        kept.finish(ctx, complete_card(ctx))
    finally:
        kept.close()


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
    if result.shift.slices is not None and not result.shift.unmoved:
        ctx.log.info(
            "slicelines: %d slices of IFU %d moved by %.4f Angstrom rms",
            result.shift.moved, result.ifu, float(np.std(result.shift.slices)),
        )  # fmt: skip
    for doubt in result.shift.doubts:
        ctx.log.warning("IFU %d: sky line not used, %s", result.ifu, doubt)


def sum_up(
    ifus: Sequence[int],
    absent: dict[int, str],
    calibrated: Collection[int],
    results: BasicResults,
    ctx: RunContext,
) -> None:
    """Tell which IFUs were not made, and fail if none was; products get their place in the list.

    An IFU that neither data nor calibrations have is of another instrument (a simulated one with few of
    them): no reason for a warning.
    """
    ctx.products.sort(key=lambda product: product.path.name)
    if absent:
        for tell, missing in (
            (ctx.log.warning, sorted(set(absent) & set(calibrated))),
            (ctx.log.info, sorted(set(absent) - set(calibrated))),
        ):
            if missing:
                tell("not in the raw data: IFU %s", ", ".join(map(str, missing)))
    lines = sorted({line for result in results.made for line in result.shift.absent})
    for line in lines:
        without = sorted({result.ifu for result in results.made if line in result.shift.absent})
        text = f"sky line {line:g} Angstrom lies outside of the data of IFU {_listed(without)}: not used"
        ctx.log.warning("%s", text)
    for reason in sorted({result.shift.unmoved for result in results.made} - {""}):
        without = sorted({result.ifu for result in results.made if result.shift.unmoved == reason})
        text = f"slicelines: no slice of IFU {_listed(without)} was moved: {reason}"
        ctx.log.warning("%s", text, extra=UNDONE)
    if results.failed and results.made:
        ifus_failed = sorted({ifu for _, ifu in results.failed})
        withdraw(ctx, results.incomplete)
        text = f"{len(ifus_failed)} of {len(ifus)} IFUs failed, see above: {_listed(ifus_failed)}"
        ctx.log.warning("%s", text, extra=UNDONE)
    if not results.made:
        reasons = "; ".join(dict.fromkeys(results.failed.values()))
        raise RecipeError(f"no IFU could be processed: {reasons}")
    ctx.log.info("%d pixel tables", len(results.made))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
