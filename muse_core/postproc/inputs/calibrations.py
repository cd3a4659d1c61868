# SPDX-License-Identifier: BSD-3-Clause
"""What muse_scipost reads before the first pixel: settings, exposures, calibrations; all faults at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from muse_core.data.calibration import read_astrometry, read_curve, read_offsets, read_output_wcs
from muse_core.data.exposure import Exposure
from muse_core.data.header_values import get_str
from muse_core.data.pixtable import PixelTableFile, open_pixtable
from muse_core.framework import Frame, Frames, InputError, RecipeError
from muse_core.postproc.astrometry.position import OffsetRow
from muse_core.postproc.autocalibration.factors import EXCLUDE_VARIABLE, raman_half_width
from muse_core.postproc.combination.checks import check_combination
from muse_core.postproc.exposure.ifu_scales import fit_ifu_scales, is_merged
from muse_core.postproc.exposure.pointing import overridden_pointing
from muse_core.postproc.exposure.reduction import PIXTABLE, Reduction
from muse_core.resampling.collapse import Filter, load_filters, split_filter_names
from muse_core.resampling.weights import Resampling

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.lsf.images import LsfImage
    from muse_core.postproc.lsf.tables import LsfTable
    from muse_core.postproc.sky.line_list import SkyLines
    from muse_core.postproc.white_light.sky_mask import SkyMask

SAVE_OPTIONS = (
    "cube",
    "autocal",
    "raman",
    "skymodel",
    "individual",
    "positioned",
    "combined",
    "stacked",
)
MADE_FROM_VOXELS = frozenset(("cube", "stacked"))
"""Products without the keywords of pixel tables."""
DEFAULT_PIXFRAC = 0.6
DEFAULT_SKY_SIGMA = (15.0, 0.0)


@dataclass(frozen=True)
class Settings:
    """Parameters that need more than a type: lists written as strings."""

    save: frozenset[str]
    resampling: Resampling
    sky_sigma: tuple[float, float]


def parse_save(text: str) -> frozenset[str]:
    """Return the set of products asked for; unknown words are left out, none at all is an error."""
    wanted = frozenset(word.strip() for word in text.split(","))
    found = wanted & frozenset(SAVE_OPTIONS)
    if not found:
        raise RecipeError(
            f"parameter save: {text!r} holds no product to save; "
            f"give one or more of {', '.join(SAVE_OPTIONS)}"
        )
    return found


def parse_pixfrac(text: str, log) -> tuple[float, float, float]:  # type: ignore[no-untyped-def]
    """Return the drizzle pixel fractions along x, y and wavelength.

    >>> parse_pixfrac("0.8,0.6", None)
    (0.8, 0.8, 0.6)
    """
    values = [_leading_number(word) for word in text.split(",")]
    if len(values) > 3:
        log.warning(
            "pixfrac has %d values, at most 3 count: using %.1f for all", len(values), DEFAULT_PIXFRAC
        )
        return (DEFAULT_PIXFRAC,) * 3
    if any(value <= 0 for value in values):
        log.warning("pixfrac %r is not positive, the cube will be empty with drizzle", text)
    if len(values) == 1:
        return (values[0],) * 3
    return (values[0], values[0], values[1]) if len(values) == 2 else (values[0], values[1], values[2])


def parse_sky_sigma(text: str, log) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """Return the two rejection limits of the sky step: for the cube and for the spectrum."""
    values = [_leading_number(word) for word in text.split(",")]
    if len(values) < 2:
        log.warning("sky_crsigma %r has fewer than two values, using %g and %g", text, *DEFAULT_SKY_SIGMA)
        return DEFAULT_SKY_SIGMA
    return values[0], values[1]


def _leading_number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return 0.0


def check_settings(p: ParamValues, ctx: RunContext) -> Settings:
    """Check what the parameter declarations cannot, and refuse what cannot be done."""
    for name in ("dx", "dy", "dlambda"):
        if p[name] < 0:  # type: ignore[operator]
            ctx.problems.add("", f"parameter {name}", expected="0 or a positive step", found=p[name])
    if p.lambdamin >= p.lambdamax:
        ctx.problems.add(
            "", "parameters lambdamin, lambdamax", expected="lambdamin < lambdamax",
            found=f"{p.lambdamin:g}, {p.lambdamax:g}",
        )  # fmt: skip
    if EXCLUDE_VARIABLE in os.environ and not raman_half_width() > 0:
        ctx.log.warning("%s is no positive number of Angstrom and has no effect", EXCLUDE_VARIABLE)
    if p.ld <= 0:
        ctx.log.warning("Overriding loop distance ld=1 (%d was given)", p.ld)
    return Settings(
        parse_save(p.save),
        Resampling(p.resample, parse_pixfrac(p.pixfrac, ctx.log), p.rc, max(p.ld, 1)),
        parse_sky_sigma(p.sky_crsigma, ctx.log),
    )


@dataclass
class Calibrations:
    """Everything loaded from the CALIB frames; None where it was not given.

    The `used` lists say which frames a product names in its header: those of all products, those that only
    filter images and what follows them need, and those that only the cube needs.
    """

    response: tuple | None = None
    response_header: Header | None = None
    extinction: tuple | None = None
    telluric: tuple | None = None
    astrometry: Header | None = None
    offsets: list[OffsetRow] | None = None
    output_wcs: Header | None = None
    sky_mask: SkyMask | None = None
    sky_lines: SkyLines | None = None
    sky_continuum: tuple | None = None
    lsf: LsfImage | LsfTable | None = None
    filters: list[Filter] = field(default_factory=list)
    used: list[Frame] = field(default_factory=list)
    used_by_images: list[Frame] = field(default_factory=list)
    used_by_cube: list[Frame] = field(default_factory=list)


def load_calibrations(frames: Frames, p: ParamValues, settings: Settings, ctx: RunContext) -> Calibrations:
    """Load all calibrations; what is wrong with them is noted in `ctx.problems`."""
    from muse_core.postproc.sky.line_list import load_sky_lines
    from muse_core.postproc.white_light.sky_mask import load_sky_mask

    calib = Calibrations()

    def load(tag: str, reader, used: list[Frame] = calib.used):  # type: ignore[no-untyped-def]
        frame = frames.first(tag)
        if frame is None:
            return None
        try:
            value = reader(frame)
        except InputError as error:
            ctx.problems.extend(error)
            return None
        used.append(frame)
        return value

    calib.response = load("STD_RESPONSE", lambda f: read_curve(f, ("lambda", "response", "resperr")))
    if calib.response is not None:
        calib.response_header = load_header(frames.first("STD_RESPONSE"))
    calib.extinction = load("EXTINCT_TABLE", lambda f: read_curve(f, ("lambda", "extinction")))
    telluric = ("lambda", "ftelluric", "ftellerr")
    calib.telluric = load("STD_TELLURIC", lambda f: read_curve(f, telluric, positive=True))
    calib.astrometry = load("ASTROMETRY_WCS", read_astrometry)
    rows = load("OFFSET_LIST", read_offsets)
    calib.offsets = None if rows is None else [OffsetRow(*row) for row in rows]
    if p.skymethod in ("model", "subtract-model"):
        calib.sky_lines = load("SKY_LINES", lambda f: load_sky_lines(f.path))
        calib.sky_continuum = load("SKY_CONTINUUM", lambda f: _continuum(f, ctx))
        calib.lsf = _load_lsf(frames, ctx, calib.used)
        _require_sky_frames(frames, p, ctx)
    if "cube" in settings.save:
        calib.output_wcs = load("OUTPUT_WCS", read_output_wcs, calib.used_by_cube)
    if p.skymethod in ("model", "simple") or p.autocalib == "deepfield":
        calib.sky_mask = load("SKY_MASK", lambda f: load_sky_mask(f.path))
    if "cube" in settings.save:
        calib.filters = _load_filters(frames, p, ctx, calib.used_by_images)
    return calib


def _require_sky_frames(frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    needed = ("LSF_PROFILE", "SKY_LINES") + (("SKY_CONTINUUM",) if p.skymethod == "subtract-model" else ())
    if ctx.compat:
        needed = needed[:2]
    for tag in needed:
        if not frames[tag]:
            ctx.problems.add(
                "",
                f"input {tag}",
                expected=f"a frame with this tag for skymethod={p.skymethod}",
                found="none",
                remedy="Add it to the set of frames, or choose skymethod=simple or none.",
            )


def _continuum(frame: Frame, ctx: RunContext) -> tuple | None:
    from muse_core.postproc.sky.line_list import load_sky_continuum

    continuum = load_sky_continuum(frame.path)
    if continuum is None:
        if not ctx.compat:
            raise InputError(
                frame.path,
                "extension CONTINUUM",
                expected="a table with columns lambda and flux",
                found="none",
                remedy="Give a SKY_CONTINUUM made by muse_create_sky or muse_scipost.",
            )
        ctx.log.warning("Could not load sky continuum from %s", frame.path)
    return continuum


def _load_lsf(frames: Frames, ctx: RunContext, used: list[Frame]) -> LsfImage | LsfTable | None:
    from muse_core.postproc.lsf.load import load_lsf

    profiles = frames["LSF_PROFILE"]
    if not profiles:
        return None
    try:
        lsf = load_lsf([frame.path for frame in profiles])
    except InputError as error:
        ctx.problems.extend(error)
        return None
    used.extend(profiles)
    return lsf


def load_header(frame: Frame | None) -> Header | None:
    """Return the primary header of a frame."""
    if frame is None:
        return None
    from astropy.io import fits

    return fits.getheader(frame.path, 0)


def _load_filters(frames: Frames, p: ParamValues, ctx: RunContext, used: list[Frame]) -> list[Filter]:
    # the C recipe takes blanks for parts of the names
    names = p.filter.split(",") if ctx.compat else split_filter_names(p.filter)
    frame = frames.first("FILTER_LIST")
    try:
        found, missing = load_filters(names, None if frame is None else frame.path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        ctx.problems.add(
            frame.path if frame else "", "FILTER_LIST", expected="tables lambda, throughput", found=str(error)
        )
        return []
    for name in dict.fromkeys(missing):
        place = f"in {frame.name}" if frame else "(no FILTER_LIST was given)"
        ctx.log.warning("filter %s not found %s, no image is made for it", name, place)
    if frame is not None and any(band.name != "white" for band in found):
        used.append(frame)
    return found


def sort_exposures(frames: Iterable[Frame], p: ParamValues, ctx: RunContext) -> list[Reduction]:
    """Open the pixel tables and sort them into exposures (by DATE-OBS), IFUs in order.

    Tables that cannot be read, have no DATE-OBS, or repeat an IFU are left out with a warning, as the C
    recipe does; tables that are damaged inside are faults.
    """
    groups: dict[str, list[tuple[Frame, PixelTableFile]]] = {}
    unreadable: list[InputError] = []
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
        if get_str(table.header, "ESO INS MODE") is None:
            ctx.problems.add(
                frame.path, "keyword ESO INS MODE", expected="an instrument mode such as WFM-NOAO-N",
                found="no such keyword", remedy="Repair the header or make the pixel table again.",
            )  # fmt: skip
            continue
        groups.setdefault(table.date_obs, []).append((frame, table))
    if not groups:
        for error in unreadable:
            ctx.problems.extend(error)
        ctx.problems.raise_if_any()
        raise RecipeError("no science exposures found in input: no usable PIXTABLE_OBJECT was given")
    for error in unreadable:
        ctx.log.warning("pixel table could not be loaded, it will be ignored! (%s)", error)
    ctx.problems.raise_if_any()
    try:
        overrides = overridden_pointing(ctx.log)
    except ValueError as error:
        raise RecipeError(str(error)) from error
    cut = (p.lambdamin, p.lambdamax)
    slice_offsets = not parse_save(p.save) <= MADE_FROM_VOXELS
    reductions = []
    for number, date in enumerate(sorted(groups), 1):
        members = _one_per_ifu(groups[date], number, date, ctx)
        reductions.append(_merge(number, members, cut, slice_offsets, ctx))
        reductions[-1].overrides = overrides
    combined = parse_save(p.save) & {"cube", "combined", "stacked"}
    check_combination(len(reductions), astrometry=p.astrometry, wanted=bool(combined) or ctx.compat)
    return reductions


def _one_per_ifu(
    members: list[tuple[Frame, PixelTableFile]], number: int, date: str, ctx: RunContext
) -> list[tuple[Frame, PixelTableFile]]:
    chosen: dict[int, tuple[Frame, PixelTableFile]] = {}
    for frame, table in members:
        if table.ifu in chosen:
            ctx.log.warning(
                "we already have IFU %2d of exposure %d (%s)! Ignoring %s",
                table.ifu,
                number,
                date,
                frame.path,
            )
            continue
        chosen[table.ifu] = (frame, table)
    ordered = [chosen[ifu] for ifu in sorted(chosen)]
    first = ordered[0][1]
    if len(ordered) > 1 and is_merged(first.header, compat=ctx.compat):
        if ctx.compat or first.ifu == 0 or int(first.header.get(f"{PIXTABLE} MERGED", 1)) > 1:
            ctx.log.warning(
                "%s holds merged IFUs already, the other tables of exposure %s are ignored",
                ordered[0][0].path,
                date,
            )
            return ordered[:1]
        ctx.log.warning("%s has no flat-field flux keywords, the IFUs are not scaled", ordered[0][0].path)
    return ordered


def _merge(
    number: int,
    members: list[tuple[Frame, PixelTableFile]],
    cut: tuple[float, float],
    slice_offsets: bool,
    ctx: RunContext,
) -> Reduction:
    tables = [table for _, table in members]
    scales = fit_ifu_scales([table.header for table in tables], ctx.log, compat=ctx.compat)
    exposure = Exposure(tables, scales, cut)
    exposure.scan(ctx.threads)
    if exposure.rows == 0:
        raise RecipeError(
            f"Pixel table {tables[0].source} contains no entries after cutting to {cut[0]:.3f}..{cut[1]:.3f} "
            "Angstrom; widen lambdamin and lambdamax"
        )
    header = merged_header(tables, slice_offsets=slice_offsets)
    present = {table.ifu for table in tables}
    if 0 not in present and len(present) < 24:
        missing = ", ".join(str(ifu) for ifu in range(1, 25) if ifu not in present)
        ctx.log.warning(
            "exposure %d (%s): channels for IFUs %s are missing", number, tables[0].date_obs, missing
        )
    data_unit = tables[0].units["data"] or "count"
    return Reduction(
        number, exposure, header, tuple(frame for frame, _ in members), ctx.log,
        data_unit=data_unit, position_unit=tables[0].units["xpos"] or "pix", threads=ctx.threads,
    )  # fmt: skip


def merged_header(tables: list[PixelTableFile], *, slice_offsets: bool) -> Header:
    """Return the header of a merged exposure: that of the first IFU.

    Parameters
    ----------
    slice_offsets : bool
        with the 48 slice offsets of each IFU, which cubes and their images do not need
    """
    from muse_core.framework.products import header_without, make_card, set_card

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
