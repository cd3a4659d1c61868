# SPDX-License-Identifier: BSD-3-Clause
"""Reduced pixel tables of several exposures, checked for what makes them one combination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from muse_core.data.header_values import Keywords
from muse_core.data.row_weights import RowWeights
from muse_core.framework import RecipeError
from muse_core.framework.unit_spelling import same_unit

if TYPE_CHECKING:
    from muse_core.data.pixtable import PixelTableFile
    from muse_core.framework import Frame, Frames, ParamValues, RunContext

PROJECTED = "rad"
"""Unit of the positions in a table that was projected, but not positioned: what muse_scipost saves."""

Table = tuple["Frame", "PixelTableFile"]


def check_tables(tables: Sequence[Table], p: ParamValues, ctx: RunContext) -> list[Table]:
    """Return the tables that can be combined; what is wrong with the others is noted in ``ctx.problems``.

    The C recipe drops tables in other units, and those with or without a column of weights unlike the first
    one, without a word; here they are faults. It leaves out tables that are not projected with a warning,
    unless it is the earliest one (`Defects.unprojected_left_out`).
    """
    ordered = sorted(tables, key=lambda table: table[1].date_obs)
    sound = [table for _, table in ordered if table.units["xpos"] == PROJECTED]
    first_unit = (sound or [table for _, table in ordered])[0].units["data"] if ordered else ""
    dates = sorted({table.date_obs for _, table in ordered})
    usable = []
    for frame, table in ordered:
        number = dates.index(table.date_obs) + 1  # of the exposure, which may have several tables
        unit = table.units["xpos"]
        if unit != PROJECTED:
            if ctx.defects.unprojected_left_out and number > 1:
                ctx.log.warning(
                    "Exposure %d was not projected to native spherical coordinates, skipping this one!",
                    number,
                )
                continue
            ctx.problems.add(
                frame.path, "unit of xpos and ypos", expected=f"{PROJECTED} (projected, not yet positioned)",
                found=unit or "none",
                remedy="Give PIXTABLE_REDUCED as muse_scipost saves it (save=individual).",
            )  # fmt: skip
        if not same_unit(table.units["data"], first_unit):
            ctx.problems.add(
                frame.path, "unit of data", expected=f"{first_unit!r} as in the earliest exposure",
                found=repr(table.units["data"]),
                remedy="Reduce all exposures with, or all without, the same calibrations.",
            )  # fmt: skip
        if p.weight == "none" and (table.weights is None) != (ordered[0][1].weights is None):
            ctx.problems.add(
                frame.path, "column weight", expected="a column of weights in all tables, or in none",
                found="one" if table.weights else "none", remedy="Choose weight=exptime, fwhm or header.",
            )  # fmt: skip
        if p.weight != "none":
            _check_exptime(frame, table, ctx, first=number == 1)
        usable.append((frame, table))
    return usable


def _check_exptime(frame: Frame, table: PixelTableFile, ctx: RunContext, *, first: bool) -> None:
    """Refuse a table without exposure time; the C recipe gives a later exposure the weight 0."""
    words = Keywords(table.header, integers_missing=ctx.defects.integer_keywords)
    exptime = words.number("EXPTIME")
    if (exptime is None or exptime <= 0.0) and (first or not ctx.defects.weight_zero_without_exptime):
        ctx.problems.add(
            frame.path, "keyword EXPTIME", expected="a positive exposure time [s]",
            found=table.header.get("EXPTIME", "none"), remedy="Repair the header, or choose weight=none.",
        )  # fmt: skip


def check_frames(frames: Frames, ctx: RunContext) -> None:
    """Refuse two lists of offsets, of which the C recipe uses none."""
    if len(frames["OFFSET_LIST"]) > 1:
        ctx.problems.add(
            frames["OFFSET_LIST"][1].path, "input OFFSET_LIST", expected="one list of offsets",
            found=f"{len(frames['OFFSET_LIST'])}", remedy="Leave one of them in the set of frames.",
        )  # fmt: skip


def check_number(count: int, earlier: int = 0) -> None:
    """Refuse to combine fewer than two exposures, those that were combined before included."""
    if count + earlier < 2 or not count:
        raise RecipeError(
            f"This recipe only makes sense with multiple exposures! ({count} usable; exposures are told "
            "apart by their DATE-OBS). Give the PIXTABLE_REDUCED of two exposures or more"
        )


def stored_weights(table: PixelTableFile) -> RowWeights | None:
    """Return the weights in the column ``weight`` of a table, None without such a column."""
    if table.weights is None:
        return None
    return RowWeights(table.path, *table.weights, table.rows)
