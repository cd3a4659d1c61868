# SPDX-License-Identifier: BSD-3-Clause
"""What a pixel table must be, or must not be yet, for a single step.

Where the C recipe goes on in silence, or without a product, the fault is a known defect
(`muse_core.framework.defects`); where it fails, it is refused here in any mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from muse_core.framework.unit_spelling import FLUX_UNIT, same_unit
from muse_core.postproc.exposure.reduction import PIXTABLE
from muse_core.postproc.flatfield.spectrum import EXTENSION, FLAT_KEY, response_wants_flat
from muse_core.postproc.flux.calibration import FLUX_KEY
from muse_core.postproc.inputs.calibration_frames import CalibrationFrames, read_header
from muse_core.postproc.inputs.exposures import Table
from muse_core.postproc.sky.given_step import spectrum_unit

if TYPE_CHECKING:
    from muse_core.framework import RunContext

SKY_KEY = f"{PIXTABLE} SKYSUB"


def anything(tables: Sequence[Table], _: CalibrationFrames, __: RunContext) -> list[Table]:
    """Return all tables."""
    return list(tables)


def in_pixels(tables: Sequence[Table], _: CalibrationFrames, ctx: RunContext) -> list[Table]:
    """Return the tables; those whose positions are on the sky already are faults."""
    for frame, table in tables:
        unit = table.units["xpos"]
        if unit not in ("pix", ""):
            ctx.problems.add(
                frame.path, "unit of xpos and ypos", expected="pix (before the astrometry)", found=unit,
                remedy="Give the table as it was before muse_scipost_apply_astrometry.",
            )  # fmt: skip
    return list(tables)


def in_pixels_with_astrometry(
    tables: Sequence[Table], calibrations: CalibrationFrames, ctx: RunContext
) -> list[Table]:
    """Return the tables as `in_pixels`; a run without ASTROMETRY_WCS is a fault, too."""
    calibrations.require("ASTROMETRY_WCS", "the astrometry", "Add one to the set of frames.")
    return in_pixels(tables, calibrations, ctx)


def in_counts(tables: Sequence[Table], calibrations: CalibrationFrames, ctx: RunContext) -> list[Table]:
    """Return the tables; those that are calibrated already, or do not go with the response, are faults."""
    calibrations.require("STD_RESPONSE", "the flux calibration", "Add one to the set of frames.")
    response = calibrations.read("STD_RESPONSE", read_header)
    wanted = response is not None and response_wants_flat(response)
    for frame, table in tables:
        has_flat = FLAT_KEY in table.header
        if table.header.get(FLUX_KEY) is True:
            ctx.problems.add(
                frame.path, f"keyword {FLUX_KEY}", expected="data in counts", found="calibrated fluxes",
                remedy="Leave this step out for this table.",
            )  # fmt: skip
        elif wanted and not has_flat:
            ctx.problems.add(
                frame.path, f"keyword {FLAT_KEY}", found="none",
                expected="data multiplied by their flat-field spectrum, as those of STD_RESPONSE",
                remedy="Run muse_scipost_combine_pixtables first, or give another STD_RESPONSE.",
            )  # fmt: skip
        elif response is not None and has_flat and not wanted and table.flat_field is None:
            ctx.problems.add(
                frame.path, f"extension {EXTENSION}", found="none",
                expected="the spectrum that the data were multiplied by",
                remedy="Give a STD_RESPONSE made with flat-field spectra.",
            )  # fmt: skip
    return list(tables)


def with_sky(tables: Sequence[Table], _: CalibrationFrames, ctx: RunContext) -> list[Table]:
    """Return the flux-calibrated tables that have their sky; others are faults (C: the run ends)."""
    usable = []
    for frame, table in tables:
        if table.header.get(FLUX_KEY) is not True:
            text, found = "calibrated fluxes", "no such keyword"
            key, remedy = FLUX_KEY, "Run muse_scipost_calibrate_flux first."
            told = "not flux calibrated"
        elif table.header.get(SKY_KEY) is True:
            text, found = "a table with its sky", "T: the sky was subtracted before"
            key, remedy = SKY_KEY, "Leave this table out."
            told = "already sky subtracted"
        else:
            usable.append((frame, table))
            continue
        if ctx.defects.run_ends_at_unfit_table:
            ctx.log.error("Pixel table %s %s", frame.path, told)
            break
        ctx.problems.add(frame.path, f"keyword {key}", expected=text, found=found, remedy=remedy)
    return usable


def with_sky_in_unit(
    tables: Sequence[Table], calibrations: CalibrationFrames, ctx: RunContext
) -> list[Table]:
    """Return the tables; those without their sky, or in another unit than SKY_SPECTRUM, are faults."""
    if ctx.defects.sky_of_any_unit:
        return list(tables)
    unit = spectrum_unit(calibrations)
    for frame, table in tables:
        if table.header.get(SKY_KEY) is True:
            ctx.problems.add(
                frame.path, f"keyword {SKY_KEY}", expected="a table with its sky",
                found="T: the sky was subtracted before", remedy="Leave this table out.",
            )  # fmt: skip
        elif unit and not same_unit(table.units["data"], unit):
            calibrated = same_unit(unit, FLUX_UNIT)
            ctx.problems.add(
                frame.path, "unit of data", expected=f"{unit}, that of SKY_SPECTRUM",
                found=table.units["data"] or "none",
                remedy="Run muse_scipost_calibrate_flux first." if calibrated else "Give another spectrum.",
            )  # fmt: skip
    return list(tables)


def chosen_table(tables: Sequence[Table], ctx: RunContext) -> list[Table]:
    """Return the one table of a cube; several are a fault (C: all but the first are left out in silence)."""
    if len(tables) > 1 and not ctx.defects.first_table_only:
        names = ", ".join(frame.name for frame, _ in tables[:3])
        ctx.problems.add(
            "", "input PIXTABLE_OBJECT", expected="one pixel table", found=f"{len(tables)} ({names} ...)",
            remedy="Combine them by muse_scipost_combine_pixtables first.",
        )  # fmt: skip
    return list(tables[:1])


def chosen_exposure(tables: Sequence[Table], ctx: RunContext) -> list[Table]:
    """Return the tables; those of several exposures are a fault (C: all rows in one table, exit 0)."""
    dates = sorted({table.date_obs for _, table in tables})
    if len(dates) > 1:
        ctx.problems.add(
            "", "input PIXTABLE_OBJECT", expected="pixel tables of one exposure",
            found=f"{len(dates)} exposures ({', '.join(dates[:3])} ...)",
            remedy="Run the recipe for each exposure.",
        )  # fmt: skip
    return list(tables)
