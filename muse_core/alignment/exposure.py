# SPDX-License-Identifier: BSD-3-Clause
"""The steps of the recipe that touch files: inspect inputs, find sources, make the preview."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .catalogue import read_catalogue
from .detection import make_kernel, near_bad_pixel
from .field import FAR_DEG, FieldError, FieldInfo, inspect_field, read_pixels
from .local import separation
from .matching import SourceTable
from .mosaic import Mosaic, MosaicGrid, plan_mosaic
from .native import native_sky
from .search import DetectionLimits, NoShapeSurvivesError, SearchResult, detect_sources
from .tan import TanWcs

MOSAIC_BYTES = 60  # per pixel of an input, with temporary arrays
PREVIEW_BYTES = 24  # per pixel of the preview


@dataclass(frozen=True)
class SourceList:
    """Sources of one exposure with sky positions, and how they were found."""

    number: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    sharpness: np.ndarray
    roundness: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    origin: str
    median: float
    mad: float
    threshold: float
    position_error: float  # typical, arcsec per coordinate; NaN for catalogues

    def __len__(self) -> int:
        return int(self.x.size)


def inspect_fields(paths, *, need_exptime: bool, compat: bool, problems, log) -> list[FieldInfo]:
    """Look at the headers of all images; what is wrong goes to ``problems``.

    Unless ``compat``, right ascensions on the other side of 0 are brought to the side of the first exposure.
    """
    fields = []
    for path in paths:

        def complain(error: FieldError, path=path) -> None:
            problems.add(path, error.item, expected=error.expected, found=error.found, remedy=error.remedy)

        info = inspect_field(path, need_exptime=need_exptime, complain=complain)
        if info is not None:
            fields.append(_usable_exptime(info, compat=compat, log=log) if need_exptime else info)
    if not fields:
        return fields
    _warn_about(fields, log)
    if not compat:
        fields = [_same_side(info, fields[0].wcs.crval[0]) for info in fields]
        _check_distance(fields, problems)
    return fields


def _usable_exptime(info: FieldInfo, *, compat: bool, log) -> FieldInfo:
    if compat and info.exptime_is_integer:
        return replace(info, exptime=0.0)  # 2.8.7 reads whole-number keywords as 0
    if info.exptime < 0:
        log.warning("%s: EXPTIME is negative (%g s), 0 is used for the exposure map", info.path, info.exptime)
        return replace(info, exptime=0.0)
    return info


def _same_side(info: FieldInfo, ra: float) -> FieldInfo:
    turns = round((ra - info.wcs.crval[0]) / 360.0)
    return replace(info, wcs=info.wcs.moved(360.0 * turns, 0.0)) if turns else info


def _warn_about(fields: list[FieldInfo], log) -> None:
    first: dict[float, FieldInfo] = {}
    for info in fields:
        if info.instrument != "MUSE":
            log.warning("%s: INSTRUME is %r, not 'MUSE'", info.path, info.instrument)
        if not info.mode:
            log.warning("%s: no ESO INS MODE, the wide field is assumed", info.path)
        if info.mjd in first:
            log.warning(
                "%s: MJD-OBS %r is that of %s, too; muse_exp_combine cannot tell their offsets apart",
                info.path,
                info.mjd,
                first[info.mjd].path,
            )
        first.setdefault(info.mjd, info)
    families = {info.family for info in fields}
    if len(families) > 1:
        log.warning(
            "ESO INS MODE: wide-field and narrow-field images are mixed (%s); their pixel sizes differ",
            ", ".join(f"{info.path}: {info.mode or 'none'}" for info in fields),
        )


def _check_distance(fields: list[FieldInfo], problems) -> None:
    reference = fields[0]
    limit = FAR_DEG[reference.family]
    ra0, dec0 = reference.centre
    for info in fields[1:]:
        distance = separation(*info.centre, ra0, dec0)
        if distance > limit:
            problems.add(
                info.path,
                "keywords CRVAL1, CRVAL2",
                expected=f"a field within {limit:g} degrees of the first exposure {reference.path}",
                found=f"{distance:.3g} degrees",
                remedy="Align the fields of one target at a time.",
            )


def check_memory(fields: list[FieldInfo], compat: bool, memory_bytes: int, problems) -> None:
    """Check that each image and the preview fit into the memory, before anything is read or made."""
    for info in fields:
        need = info.shape[0] * info.shape[1] * MOSAIC_BYTES
        if need > memory_bytes:
            problems.add(
                info.path,
                f"image of {info.shape[1]} x {info.shape[0]} pixels",
                expected=f"at most {memory_bytes / MOSAIC_BYTES:.3g} pixels for this memory",
                found=f"{info.shape[0] * info.shape[1]:.3g}",
                remedy="Give more memory or cut the image.",
            )
    check_preview(fields, [info.wcs for info in fields], compat, memory_bytes, problems)


def check_preview(fields, projections, compat: bool, memory_bytes: int, problems) -> MosaicGrid | None:
    """Plan the preview; if it does not fit into the memory, that goes to ``problems``."""
    try:
        grid = plan_mosaic(projections, [info.shape for info in fields], compat=compat)
    except ValueError as error:
        problems.add(
            _farthest(fields).path,
            "keywords CRVAL1, CRVAL2, CDi_j",
            expected="fields of one target",
            found=str(error),
        )
        return None
    if grid.pixels * PREVIEW_BYTES > memory_bytes:
        problems.add(
            _farthest(fields).path,
            "keywords CRVAL1, CRVAL2",
            expected=f"a preview of at most {memory_bytes / PREVIEW_BYTES:.3g} pixels (memory)",
            found=f"{grid.pixels:.3g} pixels to hold this field and the first exposure",
            remedy="Align the fields of one target at a time.",
        )
        return None
    return grid


def _farthest(fields: list[FieldInfo]) -> FieldInfo:
    ra0, dec0 = fields[0].centre
    return max(fields, key=lambda info: abs(info.centre[0] - ra0) + abs(info.centre[1] - dec0))


def sky_positions(wcs: TanWcs, x, y, *, compat: bool):
    """Sky positions of zero-based pixels.

    2.8.7 takes them for FITS pixels, which start at 1: all its positions are one pixel off. That cancels only
    between exposures of equal orientation, so it is corrected unless ``compat``.
    """
    if not compat:
        return wcs.sky(x + 1.0, y + 1.0)
    positions = [native_sky(wcs, *place) for place in zip(x, y, strict=True)]
    return tuple(np.array(positions).reshape(-1, 2).T)


def detect_field(info: FieldInfo, kernel, limits: DetectionLimits, bpixdistance: float, *, compat: bool, log):
    """Find the sources of one image; `FieldError` if the image or the search gives none to work with."""
    data, bad = read_pixels(info)
    _check_pixels(info, kernel, data[~bad])
    try:
        result = detect_sources(data, bad, kernel, limits)
    except NoShapeSurvivesError as error:
        raise FieldError(
            "sources",
            "point sources within the limits of sharpness and roundness",
            f"none among {error.candidates} candidates above {error.threshold:g}",
            "Check fwhm, sharpmin, sharpmax, roundmin and roundmax.",
        ) from error
    if result.background.npixels == 0:
        log.error("%s: no background pixels between bkgignore and bkgfraction, level 0 is used", info.path)
    _check_number(result, limits)
    found = result.sources
    keep = ~near_bad_pixel(found.x, found.y, bad, bpixdistance, cut=compat)
    if not keep.any():
        raise FieldError(
            "sources",
            f"sources farther than bpixdistance = {bpixdistance:g} pixels from bad pixels",
            f"all {len(found)} are closer",
            "Lower bpixdistance.",
        )
    number = np.flatnonzero(keep).astype(np.int32) + 1
    found = found.take(keep)
    ra, dec = sky_positions(info.wcs, found.x, found.y, compat=compat)
    amplitude = np.median(found.flux)
    error = (
        kernel.position_error * result.noise / amplitude * info.pixel_arcsec if amplitude > 0 else math.nan
    )
    log.info(
        "%s: %d sources above %g, %d of them near bad pixels; background %.4g +- %.3g",
        info.name,
        keep.size,
        result.threshold,
        keep.size - len(found),
        result.background.median,
        result.background.mad,
    )
    return SourceList(
        number=number,
        x=found.x,
        y=found.y,
        flux=found.flux,
        sharpness=found.sharpness,
        roundness=found.roundness,
        ra=ra,
        dec=dec,
        origin="detection",
        median=result.background.median,
        mad=result.background.mad,
        threshold=result.threshold,
        position_error=error,
    )


def _check_pixels(info: FieldInfo, kernel, good) -> None:
    box = 2 * kernel.half + 2
    if min(info.shape) < box:
        raise FieldError(
            "keywords NAXIS1, NAXIS2", f"at least {box} x {box} pixels for this fwhm", f"{info.shape[::-1]}"
        )
    if good.size == 0:
        raise FieldError("pixels of the image", "good pixels", "only bad ones (NaN or flagged in DQ)")
    if good.min() == good.max():
        raise FieldError(
            "pixels of the image", "an exposure of the sky", f"one value everywhere ({good[0]:g})"
        )


def _check_number(result: SearchResult, limits: DetectionLimits) -> None:
    if not result.wanted:
        raise FieldError(
            "sources",
            f"{limits.srcmin} to {limits.srcmax} point sources (srcmin, srcmax)",
            f"{len(result.sources)} at the last threshold {result.threshold:g} of {result.searches} tried",
            "Change threshold, step, iterations, srcmin or srcmax.",
        )
    if not len(result.sources):
        raise FieldError(
            "sources", "one source or more", f"none above {result.threshold:g}", "Lower threshold."
        )


def detect_fields(fields, p, *, compat: bool, problems, log, progress) -> list[SourceList]:
    """Find the sources of all images; images without a usable list go to ``problems``."""
    kernel = make_kernel(p.fwhm)
    limits = DetectionLimits(
        threshold=p.threshold,
        step=p.step,
        iterations=p.iterations,
        srcmin=p.srcmin,
        srcmax=p.srcmax,
        sharp=(p.sharpmin, p.sharpmax),
        round=(p.roundmin, p.roundmax),
        bkgignore=p.bkgignore,
        bkgfraction=p.bkgfraction,
    )
    lists = []
    for info in progress(fields, "sources"):
        try:
            lists.append(detect_field(info, kernel, limits, p.bpixdistance, compat=compat, log=log))
        except FieldError as error:
            problems.add(
                info.path, error.item, expected=error.expected, found=error.found, remedy=error.remedy
            )
    return lists


def load_catalogues(paths, fields, *, compat: bool, problems) -> list[SourceList]:
    """Read source lists and give each image the one with its MJD-OBS; faults go to ``problems``."""
    catalogues = []
    for path in paths:
        try:
            catalogues.append(read_catalogue(path))
        except FieldError as error:
            problems.add(path, error.item, expected=error.expected, found=error.found, remedy=error.remedy)
    if len(paths) != len(fields):
        problems.add(
            "",
            "input SOURCE_LIST",
            expected=f"one list for each of the {len(fields)} images",
            found=f"{len(paths)} lists",
        )
    if problems:
        return []
    lists = []
    for info in fields:
        mine = [c for c in catalogues if c.mjd == info.mjd]
        if len(mine) != 1:
            problems.add(
                info.path,
                "keyword MJD-OBS",
                expected=f"one SOURCE_LIST with MJD-OBS {info.mjd!r}",
                found="several: " + ", ".join(str(c.path) for c in mine) if mine else "none",
            )
            continue
        ra, dec = sky_positions(info.wcs, mine[0].x, mine[0].y, compat=compat)
        unknown = np.full(mine[0].x.size, np.nan)
        lists.append(
            SourceList(
                number=np.arange(1, mine[0].x.size + 1, dtype=np.int32),  # new numbers, as 2.8.7
                x=mine[0].x,
                y=mine[0].y,
                flux=unknown,
                sharpness=unknown,
                roundness=unknown,
                ra=ra,
                dec=dec,
                origin="catalog",
                median=0.0,
                mad=0.0,
                threshold=0.0,
                position_error=math.nan,
            )
        )
    return lists


def source_table(lists: list[SourceList]) -> SourceTable:
    """All positions of all exposures."""
    return SourceTable.from_lists([(s.ra, s.dec) for s in lists])


def field_areas(fields: list[FieldInfo], lists: list[SourceList]) -> np.ndarray:
    """Solid angle that holds the sources of each exposure, in square degrees."""
    areas = []
    for info, sources in zip(fields, lists, strict=True):
        image = info.shape[0] * info.shape[1]
        box = np.ptp(sources.x) * np.ptp(sources.y) if len(sources) else 0.0
        areas.append(max(image, box) * info.wcs.pixel_area)
    return np.array(areas)


def make_mosaic(
    fields, offsets, *, exposure_map: bool, compat: bool, memory_bytes: int, problems, log, progress
) -> Mosaic:
    """Add up all exposures whose offset is not absurdly large."""
    chosen = []
    for info, offset in zip(fields, offsets, strict=True):
        limit = FAR_DEG[fields[0].family]
        scale = 1.0 if compat else math.cos(math.radians(info.wcs.crval[1]))
        if abs(offset[0]) * scale > limit or abs(offset[1]) > limit:
            log.warning(
                "%s: its offset of (%.4f, %.4f) deg is above %g deg, it is left out of the preview",
                info.path,
                offset[0],
                offset[1],
                limit,
            )
            continue
        chosen.append((info, info.wcs.moved(-offset[0], -offset[1])))
    grid = check_preview(
        [info for info, _ in chosen], [wcs for _, wcs in chosen], compat, memory_bytes, problems
    )
    problems.raise_if_any()
    mosaic = Mosaic(grid, exposure_map=exposure_map)
    for info, wcs in progress(chosen, "preview"):
        data, bad = read_pixels(info)
        mosaic.add(data, bad, wcs, info.exptime or 0.0)
    return mosaic


__all__ = [
    "MosaicGrid",
    "SourceList",
    "check_memory",
    "detect_fields",
    "field_areas",
    "inspect_fields",
    "load_catalogues",
    "make_mosaic",
    "sky_positions",
    "source_table",
]
