# SPDX-License-Identifier: BSD-3-Clause
"""Row steps: every pixel table is corrected for itself and saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.header_values import get_float
from muse_core.framework.products import header_without
from muse_core.postproc.exposure.pixel_tables import KeptData, log_exposure, save_pixtable
from muse_core.postproc.exposure.reduction import PIXTABLE, PREDAR
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.postproc.flatfield.step import keep_table
from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
from muse_core.postproc.inputs.exposures import Table, each_alone, open_tables
from muse_core.postproc.settings import check_settings
from muse_core.postproc.stages import Inputs, Stage, correct, prepare

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import Frames, ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.exposure.reduction import Reduction

TAG = "PIXTABLE_REDUCED"
"""What the C recipes call the result of every row step, whatever their manual says."""


Check = Callable[[Sequence[Table], CalibrationFrames, "RunContext"], list[Table]]


def correct_tables(
    frames: Frames,
    p: ParamValues,
    ctx: RunContext,
    stages: Sequence[Stage],
    check: Check,
    *,
    tag: str = "PIXTABLE_OBJECT",
    of_ifus: bool = True,
    kept: KeptData | None = None,
) -> None:
    """Correct every pixel table of a tag for itself, and save it.

    Parameters
    ----------
    stages : the corrections
    check : returns the tables that can be corrected; what is wrong with others is noted in ``ctx.problems``
    of_ifus : the products are numbered as those of IFUs (0001-00), not as those of exposures (0001)
    kept : save the data before the last correction, too
    """
    check_settings(p, ctx)
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames[tag], ctx)
    ready = prepare(stages, Inputs(p, calibrations, tables), ctx)
    numbers = {frame: number for number, frame in enumerate(frames[tag], 1)}
    for exposure in each_alone(check(tables, calibrations, ctx), p, ctx):
        number = numbers[exposure.product.frames[0]]
        with ctx.part():
            log_exposure(exposure, ctx.log)
            keep_table(exposure)
            if ctx.defects.limits_from_header:
                _go_by_header(exposure, p)
            correct(exposure, ready, p, ctx)
            used = (*exposure.product.frames, *calibrations.used.all)
            if ctx.defects.history_lost:
                used = tuple(calibrations.used.all)
                exposure.product.header = without_history(exposure.product.header)
            save_pixtable(
                exposure,
                TAG,
                limits_of(exposure, ctx),
                used,
                p,
                ctx,
                name_of_ifu(exposure),
                index=(number, 0) if of_ifus else number,
                kept=kept,
            )


def _go_by_header(exposure: Reduction, p: ParamValues) -> None:
    """Let what a table tells of itself stand for the limits of its rows, as in the C recipes."""
    header = exposure.product.header
    limits = limits_of_header(header, p)
    if f"{PREDAR} XLO" not in header:
        exposure.reference_limits = limits
    exposure.stated_range = limits.lam if limits else None


def limits_of(exposure: Reduction, ctx: RunContext) -> RowLimits:
    """Return the limits of a table for its header; the C recipes forget that wavelengths were corrected."""
    limits = exposure.chain.limits()
    if ctx.defects.stale_wavelength_limits:
        return replace(limits, lam=exposure.chain.files.lambda_limits())
    return limits


def limits_of_header(header: Header, p: ParamValues) -> RowLimits | None:
    """Return the limits that a table tells of itself, None where rows were cut away or there are none.

    Measured against 2.8.7, which looks at the rows only after a cut.
    """
    found: list[tuple[float, float]] = []
    for name in ("X", "Y", "LAMBDA"):
        values = [get_float(header, f"{PIXTABLE} LIMITS {name} {end}") for end in ("LOW", "HIGH")]
        if values[0] is None or values[1] is None:
            return None
        found.append((float(np.float32(values[0])), float(np.float32(values[1]))))
    low, high = found[2]
    uncut = p.lambdamin < low and p.lambdamax > high
    return RowLimits(found[0], found[1], found[2], (0, 0), (0, 0)) if uncut else None


def name_of_ifu(exposure: Reduction) -> list[Card]:
    """Return the name of the IFU that a table is of, if it is of one."""
    name = str(exposure.product.header.get("EXTNAME", "")).strip()
    return [("EXTNAME", name, "")] if name else []


def without_history(header: Header) -> Header:
    """Return a header without the records of earlier recipes, as C muse_scipost_apply_astrometry does."""
    return header_without(
        header, lambda key: key.startswith(("ESO PRO REC", "ESO PRO ANCESTOR")) or key == "ARCFILE"
    )
