# SPDX-License-Identifier: BSD-3-Clause
"""Pixel tables sorted into exposures, the IFUs of each merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.exposure import Exposure, ZoneMap
from muse_core.data.header_values import Keywords, get_str
from muse_core.data.input_rules import PIXEL_TABLE
from muse_core.data.pixel_rules import check_pixels
from muse_core.data.pixtable import PixelTableFile, open_pixtable
from muse_core.data.rules import PLACES, broken, check
from muse_core.data.slices import N_IFU, N_SLICE
from muse_core.framework import Frame, InputError, RecipeError
from muse_core.framework.products import header_without, make_card, set_card
from muse_core.postproc.exposure.chain import Chain
from muse_core.postproc.exposure.ifu_scales import fit_ifu_scales, has_no_fluxes
from muse_core.postproc.exposure.pointing import replaced_pointing
from muse_core.postproc.exposure.reduction import PIXTABLE, ProductState, Reduction

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import ParamValues, RunContext

MADE_FROM_VOXELS = frozenset(("cube", "stacked", "sums"))
"""Products without the keywords of pixel tables."""

REMEDY = "Make the pixel table again, or leave it out of the set of frames."
LARGEST = {"": 1e5, "pix": 1e5, "rad": 7.0, "deg": 1e3}
"""Positions at most, by the unit of the columns: the field has some 300 pixels."""

Table = tuple[Frame, PixelTableFile]


def open_tables(frames: Iterable[Frame], ctx: RunContext, *, needs_mode: bool = True) -> list[Table]:
    """Open the pixel tables; only their headers are read.

    Tables that cannot be read or have no DATE-OBS are left out with a warning, as the C recipe does; tables
    that are damaged inside are faults.

    Parameters
    ----------
    needs_mode : the corrections need to know the instrument mode
    """
    tables: list[Table] = []
    unreadable: list[InputError] = []
    told = _CheckedHeaders()
    for frame in frames:
        try:
            table = open_pixtable(frame.path)
        except InputError as error:
            if error.faults[0].item == "file":
                unreadable.append(error)
            else:
                ctx.problems.extend(error)
            continue
        if not table.date_obs:
            ctx.log.warning("%s has no DATE-OBS keyword, it will be ignored!", frame.path)
            continue
        if needs_mode and get_str(table.header, "ESO INS MODE") is None:
            ctx.problems.add(
                frame.path, "keyword ESO INS MODE", expected="an instrument mode such as WFM-NOAO-N",
                found="no such keyword", remedy="Repair the header or make the pixel table again.",
            )  # fmt: skip
            continue
        told.check(frame, table, ctx)
        check_pixels(frame.path, frame.tag, ctx)
        tables.append((frame, table))
    for reason in unreadable:
        if tables:
            ctx.log.warning("pixel table could not be loaded, it will be ignored! (%s)", reason)
        else:
            ctx.problems.extend(reason)
    if not tables and not ctx.problems:
        ctx.problems.add("", "no science exposures found in input: no usable pixel table was given")
    return tables


class _CheckedHeaders:
    """The rules of pixel tables; what the headers of all IFUs of an exposure say alike is told once."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, str]] = set()

    def check(self, frame: Frame, table: PixelTableFile, ctx: RunContext) -> None:
        """Note, or warn of, what the header of a table says that cannot be."""
        new = []
        for rule, found in broken(PIXEL_TABLE, table.header):
            key = (table.date_obs, rule.item, found)
            if key not in self._told:
                self._told.add(key)
                new.append(rule)
        check(frame.path, new, table.header, ctx)


def sort_exposures(tables: Iterable[Table], p: ParamValues, ctx: RunContext) -> list[Reduction]:
    """Sort the pixel tables into exposures (by DATE-OBS), IFUs in order.

    All that was found wrong with the inputs so far is raised here, before the first row is read.
    """
    ctx.problems.raise_if_any()
    by_date: dict[str, list[Table]] = {}
    for table in tables:
        by_date.setdefault(table[1].date_obs, []).append(table)
    exposures = []
    for number, date in enumerate(sorted(by_date), 1):
        of_date = _one_per_ifu(by_date[date], number, ctx)
        members = _mergeable(of_date, ctx)
        # products of the C recipe name the tables that it has ignored, too
        named = of_date if ctx.defects.first_ifu_only_without_flux else members
        exposures.append(_merge(number, members, tuple(frame for frame, _ in named), p, ctx))
    return exposures


def as_one_exposure(tables: list[Table], p: ParamValues, ctx: RunContext) -> Reduction:
    """Take the tables of several exposures for one, with the header of the first; each has its own scales."""
    ctx.problems.raise_if_any()
    members: list[Table] = []
    scales: list[float] = []
    for number, date in enumerate(sorted({table.date_obs for _, table in tables}), 1):
        own = _mergeable(_one_per_ifu([t for t in tables if t[1].date_obs == date], number, ctx), ctx)
        members += own
        scales += fit_ifu_scales([_keywords(table.header, ctx) for _, table in own], ctx.log)
    opened = [table for _, table in members]
    files = _scanned(1, opened, tuple(scales), p, ctx)
    header = merged_header(opened, slice_offsets=True)
    return _reduction(1, files, header, tuple(frame for frame, _ in members), p, ctx)


def _one_per_ifu(members: list[Table], number: int, ctx: RunContext) -> list[Table]:
    """Return the tables in the order of their IFUs; of an IFU that is there twice only the first one."""
    chosen: dict[int, Table] = {}
    for frame, table in members:
        if table.ifu in chosen:
            ctx.log.warning(
                "we already have IFU %2d of exposure %d (%s)! Ignoring %s",
                table.ifu,
                number,
                table.date_obs,
                frame.path,
            )
            continue
        chosen[table.ifu] = (frame, table)
    return [chosen[ifu] for ifu in sorted(chosen)]


def _mergeable(tables: list[Table], ctx: RunContext) -> list[Table]:
    """Return the tables that make up the exposure: only the first one if it holds merged IFUs already."""
    frame, first = tables[0]
    if len(tables) > 1 and has_no_fluxes(_keywords(first.header, ctx)):
        merged = first.ifu == 0 or int(first.header.get(f"{PIXTABLE} MERGED", 1)) > 1
        if merged or ctx.defects.first_ifu_only_without_flux:
            ctx.log.warning(
                "%s holds merged IFUs already, the other tables of exposure %s are ignored",
                frame.path,
                first.date_obs,
            )
            return tables[:1]
        ctx.log.warning("%s has no flat-field flux keywords, the IFUs are not scaled", frame.path)
    return tables


def _merge(
    number: int, members: list[Table], named: tuple[Frame, ...], p: ParamValues, ctx: RunContext
) -> Reduction:
    """Make one exposure of the tables of its IFUs.

    Parameters
    ----------
    named : frames that its products name in their headers
    """
    tables = [table for _, table in members]
    scales = fit_ifu_scales([_keywords(table.header, ctx) for table in tables], ctx.log)
    files = _scanned(number, tables, scales, p, ctx)
    present = {table.ifu for table in tables}
    if 0 not in present and len(present) < 24:
        missing = ", ".join(str(ifu) for ifu in range(1, 25) if ifu not in present)
        ctx.log.warning(
            "exposure %d (%s): channels for IFUs %s are missing", number, tables[0].date_obs, missing
        )
    header = merged_header(tables, slice_offsets=not MADE_FROM_VOXELS.issuperset(p.save))
    return _reduction(number, files, header, named, p, ctx)


def each_alone(tables: Iterable[Table], p: ParamValues, ctx: RunContext) -> list[Reduction]:
    """Take every pixel table for itself, in the order given, with its header as it is.

    All that was found wrong with the inputs so far is raised here, before the first row is read.
    """
    ctx.problems.raise_if_any()
    reductions = []
    for number, (frame, table) in enumerate(tables, 1):
        header = table.header.copy()
        if "RADECSYS" in header:
            header.rename_keyword("RADECSYS", "RADESYS")
        reductions.append(
            _reduction(number, _scanned(number, [table], (1.0,), p, ctx), header, (frame,), p, ctx)
        )
    return reductions


def _scanned(
    number: int, tables: list[PixelTableFile], scales: tuple[float, ...], p: ParamValues, ctx: RunContext
) -> Exposure:
    """Return the rows of the tables of exposure 1, 2, ... within lambdamin and lambdamax."""
    files = Exposure(tables, scales, (p.lambdamin, p.lambdamax))

    def scan() -> list[ZoneMap]:
        files.scan(ctx.team)
        return files.zones

    with ctx.clock.step("opening"):
        files.zones = ctx.kept.once(f"rows of exposure {number}", scan)
    if files.rows == 0:
        raise RecipeError(
            f"Pixel table {tables[0].path} contains no entries after cutting to {p.lambdamin:.3f}.."
            f"{p.lambdamax:.3f} Angstrom; widen lambdamin and lambdamax"
        )
    placed = [_has_positions(table, zone) for table, zone in zip(tables, files.zones, strict=True)]
    for table, zone, has_positions in zip(tables, files.zones, placed, strict=True):
        if zone.rows == 0 or not has_positions:
            within = f"within {p.lambdamin:.1f} to {p.lambdamax:.1f} Angstrom"
            what = "row" if zone.rows == 0 else "row with a position"
            ctx.log.warning(
                "exposure %d: no %s of %s lies %s, IFU %d is missing",
                number,
                what,
                table.path,
                within,
                table.ifu,
            )
    for table, zone in zip(tables, files.zones, strict=True):
        check(table.path, PIXEL_TABLE, _places(table, zone), ctx, about=PLACES)
    if not any(placed):
        raise InputError(
            tables[0].path, "columns xpos, ypos", expected="positions of pixels", found="none in any row"
        )
    return files


def _reduction(
    number: int, files: Exposure, header: Header, named: tuple[Frame, ...], p: ParamValues, ctx: RunContext
) -> Reduction:
    """Return an exposure at the start of its corrections; `header` is that of its products."""
    units = files.files[0].units
    position_unit = units["xpos"] or "pix"
    polar = position_unit == "rad" or str(header.get(f"{PIXTABLE} WCS", "")).startswith("projected")
    return Reduction(
        number,
        Chain(files, ctx.team, polar_files=polar),
        ProductState(header, named, units["data"] or "count", position_unit),
        _keywords(header, ctx, replaced_pointing(p.superflat_pos)),
        records_skipped=not ctx.defects.skipped_without_a_word,
    )


def _places(table: PixelTableFile, zone: ZoneMap) -> dict[str, object]:
    """Return what rules about places are asked of: the extent of the rows, and how many slices they have."""
    limits, numbers = zone.limits[zone.found > 0], zone.numbers[zone.found > 0]
    limits = limits[(limits[:, 0] <= limits[:, 1]) & (limits[:, 2] <= limits[:, 3])]
    if not limits.size:
        return {}
    width, height = (
        float(limits[:, 2 * axis + 1].max()) - float(limits[:, 2 * axis].min()) for axis in (0, 1)
    )
    slices = int(numbers[:, 3].max()) - int(numbers[:, 2].min()) + 1
    ifus = int(numbers[:, 1].max()) - int(numbers[:, 0].min()) + 1
    unit = table.units["xpos"] or "pix"
    if unit == "rad":  # native angles: xpos goes round the pole, ypos is the distance from it
        width = min(width, 2.0 * float(np.abs(limits[:, 2:4]).max()))
    return {"WIDTH": width, "HEIGHT": height, "SLICES": slices, "IFUS": ifus, "UNIT": unit}


def _has_positions(table: PixelTableFile, zone: ZoneMap) -> bool:
    """Say whether some row has a position (those that are NaN do not count); refuse impossible ones."""
    limits = zone.limits[zone.found > 0]
    largest = LARGEST.get(table.units["xpos"], LARGEST[""])
    found = True
    for number, (name, limit) in enumerate((("xpos", largest), ("ypos", largest), ("lambda", 1e9))):
        low, high = limits[:, 2 * number], limits[:, 2 * number + 1]
        there = low <= high
        found &= bool(there.any())
        worst = max(np.abs(low[there]).max(initial=0.0), np.abs(high[there]).max(initial=0.0))
        if worst > limit:
            raise InputError(
                table.path, f"column {name}", expected=f"numbers up to {limit:g}", found=f"{worst:g}",
                remedy=REMEDY,
            )  # fmt: skip
    for number, (name, largest_number) in enumerate((("IFU", N_IFU), ("slice", N_SLICE))):
        numbers = zone.numbers[zone.found > 0, 2 * number : 2 * number + 2]
        if numbers.size and not 1 <= numbers.min() <= numbers.max() <= largest_number:
            wrong = numbers[(numbers < 1) | (numbers > largest_number)][0]
            raise InputError(
                table.path, "column origin", expected=f"{name} 1 to {largest_number} in each row",
                found=f"{name} {wrong}", remedy=REMEDY,
            )  # fmt: skip
    return found


def _keywords(header: Header, ctx: RunContext, replaced: Mapping[str, float] | None = None) -> Keywords:
    """Return a header read by the rule of this run."""
    return Keywords(header, integers_missing=ctx.defects.integer_keywords, replaced=replaced)


def merged_header(tables: list[PixelTableFile], *, slice_offsets: bool) -> Header:
    """Return the header of a merged exposure: that of the first IFU.

    Parameters
    ----------
    slice_offsets : bool
        with the 48 slice offsets of each IFU, which cubes and their images do not need
    """
    offsets = f"{PIXTABLE} EXP"
    dropped = ["ESO DRS MUSE FLAT FLUX", f"{PIXTABLE} LIMITS", "ESO QC "]
    if not slice_offsets:
        dropped.append(offsets)
    header = header_without(tables[0].header, lambda key: key.startswith(tuple(dropped)) or key == "EXTNAME")
    if "RADECSYS" in header:
        header.rename_keyword("RADECSYS", "RADESYS")
    if slice_offsets:
        known, text = set(header), "x-offset of given slice"
        for card in (card for table in tables[1:] for card in table.header.cards):
            if card.keyword.startswith(offsets) and card.keyword not in known:
                known.add(card.keyword)
                header.append(make_card(card.keyword, card.value, text), end=True)
    if f"{PIXTABLE} MERGED" not in header:
        text = "Merged IFUs that went into this pixel table"
        set_card(header, f"{PIXTABLE} MERGED", len(tables), text)
    return header
