# SPDX-License-Identifier: BSD-3-Clause
"""OFFSET_LIST and the exposures of a run: whether they belong together, and rotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from muse_core.data.header_values import get_str
from muse_core.data.offset_list import OffsetList, OffsetRow, read_offsets, read_offsets_as_c
from muse_core.framework import InputError
from muse_core.postproc.astrometry.projection import WCS_STATE

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames

TRUSTED = "muse_exp_align trusts the offsets used"
POSANG, MODE = "ESO INS DROT POSANG", "ESO INS DROT MODE"


def load_offsets(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> OffsetList | None:
    """Read the OFFSET_LIST of a run, if there is one; its rotations only where they are asked for."""
    reader = read_offsets_as_c if ctx.defects.offset_list_by_date_text else read_offsets
    offsets = frames.read("OFFSET_LIST", reader)
    frames.check("OFFSET_LIST", None if offsets is None else offsets.columns())
    return offsets if offsets is None or p.rot_offset else offsets.without_rotations()


def check_offsets(
    exposures: Sequence[Reduction], frames: CalibrationFrames, p: ParamValues, ctx: RunContext
) -> None:
    """Refuse a list that belongs to no exposure, or says two things of one; turn exposures where asked for.

    A list that is read as the C recipe does is not checked.

    Raises
    ------
    InputError
        before the first row is read
    """
    offsets = load_offsets(frames, p, ctx)
    if not p.astrometry or offsets is None:
        return
    found = _checked_rows(exposures, offsets, p, ctx)
    for exposure in exposures:
        row = found.get(exposure.number)
        if row is not None and row.rotation:
            turn(exposure, row.rotation, ctx)


def _checked_rows(
    exposures: Sequence[Reduction], offsets: OffsetList, p: ParamValues, ctx: RunContext
) -> dict[int, OffsetRow | None]:
    """Return the rows of the exposures, by their numbers."""
    found = {}
    for exposure in exposures:
        state = get_str(exposure.product.header, WCS_STATE) or ""
        if state.startswith("positioned"):
            continue
        try:
            row = found[exposure.number] = row_of(exposure, offsets)
        except InputError as error:
            ctx.problems.extend(error)
            continue
        if row is not None and row.rotation and state.startswith("projected"):
            ctx.problems.add(
                exposure.product.frames[0].path,
                "keyword " + WCS_STATE,
                expected="a table that is not projected yet (rot_offset=true)",
                found=state,
                remedy="Apply rotations where the pixel tables are reduced first.",
            )
    if found and not any(found.values()) and not ctx.problems and not offsets.by_date_only:
        dates = [get_str(exposure.product.header, "DATE-OBS") for exposure in exposures]
        listed = [row.date_obs or f"MJD {row.mjd_obs}" for row in offsets.rows[:3]]
        ctx.problems.add(
            offsets.path,
            "OFFSET_LIST",
            expected=f"a row of one of the exposures ({', '.join(str(date) for date in dates[:3])} ...)",
            found=f"{len(offsets.rows)} rows ({', '.join(listed)} ...), none of them",
            remedy="Give the list of these exposures, with their DATE-OBS or MJD-OBS, or leave it out.",
        )
    if p.rot_offset and offsets.rows and all(row.rotation is None for row in offsets.rows):
        ctx.problems.add(
            offsets.path,
            "column ROT_OFFSET",
            expected="the rotations of the exposures (rot_offset=true)",
            found="no such column",
            remedy="Make the list by muse_exp_align with rotation=true.",
        )
    ctx.problems.raise_if_any()
    _tell_trust(found, offsets, ctx)
    return found


def _tell_trust(found: dict[int, OffsetRow | None], offsets: OffsetList, ctx: RunContext) -> None:
    """Warn about offsets of which muse_exp_align says that they cannot be trusted."""
    rows = {number: row for number, row in found.items() if row is not None and row.trusted is not None}
    for number, row in rows.items():
        if not row.trusted:
            ra, dec = row.ra_offset * 3600.0, row.dec_offset * 3600.0
            text = (
                f"exposure {number}: its offset in {offsets.path} is not trustworthy (muse_exp_align found "
                f"too few sources that fit), {ra:.2f}, {dec:.2f} arcsec are used. Compare the images of the "
                "exposures, align with other parameters or a REFERENCE_IMAGE, or leave the exposure out"
            )
            ctx.undone("OFFSETS TRUSTED", text, TRUSTED)
    if rows and all(row.trusted for row in rows.values()):
        ctx.flag("OFFSETS TRUSTED", True, TRUSTED)


def row_of(exposure: Reduction, offsets: OffsetList) -> OffsetRow | None:
    """Return the row of an exposure."""
    keywords = exposure.keywords
    return offsets.row_of(keywords.text("DATE-OBS"), keywords.number("MJD-OBS"))


def turn(exposure: Reduction, rotation: float, ctx: RunContext) -> None:
    """Let all corrections of an exposure see its true position angle."""
    keywords = exposure.keywords
    sign = 1.0 if keywords.text(MODE) == "SKY" else -1.0  # the mode decides how the angle counts
    written = keywords.number(POSANG) or 0.0
    exposure.keywords = keywords.with_replaced({POSANG: written - sign * rotation})
    ctx.log.info(
        "exposure %d: position angle of the header corrected by %+.4f deg (ROT_OFFSET)",
        exposure.number,
        -rotation,
    )
