# SPDX-License-Identifier: BSD-3-Clause
"""Exposures that were combined before, as the sums behind their cube (DATACUBE_SUMS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.input_rules import rules_of
from muse_core.data.pixel_rules import samples_of
from muse_core.data.rules import PIXELS, check
from muse_core.framework import InputError
from muse_core.framework.fits_file import open_fits
from muse_core.framework.fits_layout import units
from muse_core.framework.log import UNDONE
from muse_core.framework.products import header_without
from muse_core.framework.unit_spelling import same_unit
from muse_core.postproc.combination.weights import WeightReference
from muse_core.resampling.grid import OutputGrid
from muse_core.resampling.stored_sums import COUNT, GRID, SUMS, StoredSums, SumsHeader, layout_of

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import Frame, Frames, ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.inputs.exposures import Table

TAG = "DATACUBE_SUMS"
SUMS_KEY = "ESO DRS MUSE SUMS"
_OTHER_REMEDY = "Make the sums again from the reduced tables, or give the parameters they were made with."


@dataclass(frozen=True)
class EarlierSums:
    """What was combined before.

    Parameters
    ----------
    head : SumsHeader
    stored : StoredSums
    header : Header
        primary header, without what tells of the sums
    dates : tuple of str
        DATE-OBS of the exposures
    scheme, method : str
        how they were weighted and resampled
    data_unit : str
    """

    head: SumsHeader
    stored: StoredSums
    header: Header
    dates: tuple[str, ...]
    scheme: str
    method: str
    data_unit: str

    @property
    def count(self) -> int:
        """Number of exposures."""
        return len(self.dates)

    @property
    def weight_reference(self) -> WeightReference:
        """What the weights are relative to."""
        return WeightReference(self.head.amount, self.head.fwhm)


def method_text(p: ParamValues) -> str:
    """Return how the parameters resample, in one line."""
    fractions = ",".join(f"{fraction:g}" for fraction in p.pixfrac)
    own = {"drizzle": f" pixfrac={fractions}", "renka": f" rc={p.rc:g}"}.get(p.resample, "")
    return f"{p.resample}{own} ld={max(p.ld, 1)}"


def sums_cards(dates: Sequence[str], p: ParamValues) -> list[Card]:
    """Return the keywords that `read_sums` looks for."""
    cards: list[Card] = [
        (f"{SUMS_KEY} WEIGHT", p.weight, "weights of the exposures"),
        (f"{SUMS_KEY} METHOD", method_text(p), "resampling"),
        (f"{SUMS_KEY} NEXP", len(dates), "number of exposures"),
    ]
    return cards + [(f"{SUMS_KEY} EXP{n} DATE-OBS", date, "") for n, date in enumerate(dates, 1)]


def read_sums(frame: Frame) -> EarlierSums:
    """Read what goes with stored sums; the sums themselves stay in the file.

    Raises
    ------
    InputError
        if this is no such file
    """
    try:
        offsets, shape, numbers_at = layout_of(units(frame.path))
    except (ValueError, TypeError, AttributeError) as error:
        raise _unusable(frame, error) from None
    with open_fits(frame.path) as hdus:
        sums = hdus[SUMS[0]].header
        primary = hdus[0].header.copy()
        numbers = hdus[GRID].data
        complete = hdus[COUNT].fileinfo()["datLoc"] == offsets[3] and numbers_at > offsets[3]
    try:
        head = SumsHeader(_grid(sums, shape), (0.0, 0.0), 0.0, 0.0).with_numbers(numbers)
        count = int(primary[f"{SUMS_KEY} NEXP"])
        dates = tuple(str(primary[f"{SUMS_KEY} EXP{n} DATE-OBS"]) for n in range(1, count + 1))
        scheme, method = str(primary[f"{SUMS_KEY} WEIGHT"]), str(primary[f"{SUMS_KEY} METHOD"])
        unit = str(sums["BUNIT"])
    except (KeyError, ValueError, TypeError) as error:
        raise _unusable(frame, error) from None
    if not complete or frame.path.stat().st_size < numbers_at + numbers.nbytes:
        raise _unusable(frame, ValueError("an early end"))
    header = header_without(primary, lambda key: key.startswith(SUMS_KEY))
    return EarlierSums(head, StoredSums(frame.path, offsets, shape), header, dates, scheme, method, unit)


def _unusable(frame: Frame, error: Exception) -> InputError:
    return InputError(
        frame.path, "file", expected=f"the sums of a combination ({TAG}, save=sums)", found=error,
        remedy="Give the file that muse_exp_combine wrote with save=sums.",
    )  # fmt: skip


def _grid(header: Header, shape: tuple[int, int, int]) -> OutputGrid:
    """Return the grid of a cube as far as its cards tell it."""
    nz, ny, nx = shape
    axes = (1, 2, 3)
    crpix, crval = (tuple(float(header[f"{key}{n}"]) for n in axes) for key in ("CRPIX", "CRVAL"))
    ctype, cunit = (tuple(str(header[f"{key}{n}"]) for n in axes) for key in ("CTYPE", "CUNIT"))
    matrix = ((1.0, 0.0), (0.0, 1.0))
    return OutputGrid(
        nx, ny, nz, (crpix[0], crpix[1], crpix[2]), (crval[0], crval[1], crval[2]), matrix, 1.0,
        (ctype[0], ctype[1], ctype[2]), (cunit[0], cunit[1], cunit[2]), (1.0, 1.0),
    )  # fmt: skip


def _check_asked(frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    of_all = {
        "covariance": p.covariance,
        "stat_aperture": p.stat_aperture > 1,
        "collapse_pixtable": p.collapse_pixtable,
        "save": "combined" in p.save,
        "format": p.format == "sdpCube",  # its header tells of all exposures
    }
    for name in (name for name, asked in of_all.items() if asked):
        ctx.problems.add(
            "", f"parameter {name}", expected="the pixel tables of all exposures",
            found=f"{name}={p[name]} with sums of earlier exposures", remedy="Combine all exposures anew.",
        )  # fmt: skip
    unused = [name for name in ("dx", "dy", "dlambda") if not p.is_default(name)]
    unused += ["OUTPUT_WCS"] if frames["OUTPUT_WCS"] else []
    if unused:
        text = "%s: not used, the cube is on the grid of the sums that were given"
        ctx.log.warning(text, ", ".join(unused), extra=UNDONE)


def check_sums(
    earlier: EarlierSums, frames: Frames, tables: Sequence[Table], p: ParamValues, ctx: RunContext
) -> None:
    """Note in ``ctx.problems`` what keeps exposures from being added to stored sums.

    What is asked for and needs the rows of all exposures is refused, too; of a grid asked for a warning tells
    that it is not used.
    """
    frame = frames[TAG][0]
    check(frame.path, rules_of(ctx.spec.name, TAG), samples_of(frame.path, SUMS), ctx, about=PIXELS)
    _check_asked(frames, p, ctx)
    for item, asked, made in (
        ("weight", p.weight, earlier.scheme),
        ("resample", method_text(p), earlier.method),
    ):
        if asked != made:
            ctx.problems.add(
                frame.path, f"parameter {item}", expected=f"{made} as in the sums", found=asked,
                remedy=_OTHER_REMEDY,
            )  # fmt: skip
    for given, table in tables:
        if table.date_obs in earlier.dates:
            ctx.problems.add(
                given.path, "keyword DATE-OBS", expected="an exposure that is not in the sums",
                found=table.date_obs, remedy="Leave this table out.",
            )  # fmt: skip
        if not same_unit(table.units["data"], earlier.data_unit):
            ctx.problems.add(
                given.path, "unit of data", expected=f"{earlier.data_unit!r} as in {frame.path.name}",
                found=repr(table.units["data"]),
                remedy="Reduce all exposures with, or all without, the same calibrations.",
            )  # fmt: skip
