# SPDX-License-Identifier: BSD-3-Clause
"""The sources of all images: found in them, or read from the lists that are given."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Pixels
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.images.opening import read_pixels
from muse_core.alignment.sources.detection import StarKernel, make_kernel, near_bad_pixel
from muse_core.alignment.sources.given_lists import load_source_lists
from muse_core.alignment.sources.photometry import aperture_fluxes
from muse_core.alignment.sources.source_list import SourceList, sky_positions
from muse_core.alignment.sources.threshold_search import (
    DetectionLimits,
    NoShapeSurvivesError,
    SearchResult,
    detect_sources,
)
from muse_core.framework.context import RunContext
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError
from muse_core.framework.spec import ParamValues

APERTURE = 3.0  # radius in units of fwhm: little of a star is outside, whatever the seeing


class NothingToAlignError(InputError):
    """An exposure without a source to align it by; the others can do without it."""


def find_sources(
    fields: Sequence[FieldInfo],
    lists: Sequence[Path],
    p: ParamValues,
    ctx: RunContext,
    reference: object | None = None,
) -> list[SourceList]:
    """Find the sources of all images, or read the lists that are given in place of that.

    Parameters
    ----------
    reference : object or None
        With a reference that is no exposure one exposure with sources is enough.

    Returns
    -------
    list of SourceList
        Empty ones for the exposures that are left out.

    Raises
    ------
    InputError
        About all images without a usable list, if there are not two others (with the defect, if any has
        none).
    """
    if lists:
        found = load_source_lists(lists, fields, defects=ctx.defects, problems=ctx.problems)
        ctx.problems.raise_if_any()
        return found
    if p.override_detection:
        ctx.log.info("no SOURCE_LIST given, the sources are detected")
    needed = 2 if reference is None else 1
    kernel = make_kernel(p.fwhm)
    limits = DetectionLimits.from_parameters(p)
    found = []
    faults: list[InputError] = []
    for info in ctx.progress(fields, "sources"):
        try:
            found.append(detect_field(info, kernel, limits, ctx.defects, ctx.log))
        except NothingToAlignError as error:
            faults.append(error)
            found.append(SourceList.empty(error.faults[0].found))
        except InputError as error:
            ctx.problems.extend(error)
    if ctx.defects.empty_exposure_fatal or len(fields) - len(faults) < needed:
        for fault in faults:
            ctx.problems.extend(fault)
    ctx.problems.raise_if_any()
    for fault in faults:
        ctx.log.warning("the exposure is left out, the others are aligned: %s", fault)
    return found


def detect_field(
    info: FieldInfo, kernel: StarKernel, limits: DetectionLimits, defects: Defects, log: logging.Logger
) -> SourceList:
    """Find the sources of one image; `InputError` if the image or the search gives none to work with."""
    data, bad = read_pixels(info)
    _check_pixels(info, kernel, data[~bad])
    try:
        result = detect_sources(data, bad, kernel, limits, search_into_noise=defects.search_into_noise)
    except NoShapeSurvivesError as error:
        raise _no_star(info, error.candidates, error.threshold) from error
    if result.background.npixels == 0:
        log.error("%s: no background pixels between bkgignore and bkgfraction, level 0 is used", info.path)
    _check_number(info, result, limits, defects, log)
    found = result.sources
    keep = ~near_bad_pixel(
        found.x, found.y, bad, limits.bpixdistance, bad_pixels_up_to_edge=defects.bad_pixels_up_to_edge
    )
    if not keep.any():
        raise NothingToAlignError(
            info.path,
            "sources",
            expected=f"sources farther than bpixdistance = {limits.bpixdistance:g} pixels from bad pixels",
            found=f"all {len(found)} are closer",
            remedy="Lower bpixdistance.",
        )
    log.info(
        "%s: %d sources above %g, %d of them near bad pixels; background %.4g +- %.3g",
        info.name,
        keep.size,
        result.threshold,
        keep.size - np.count_nonzero(keep),
        result.background.median,
        result.background.mad,
    )
    return as_source_list(info, kernel, result, keep, data, bad, defects)


def as_source_list(
    info: FieldInfo,
    kernel: StarKernel,
    result: SearchResult,
    keep: Flags,
    data: Pixels,
    bad: Flags,
    defects: Defects,
) -> SourceList:
    """Return the detections that are kept, with sky positions, errors and fluxes."""
    found = result.sources.take(keep)
    ra, dec = sky_positions(
        info.wcs, found.x, found.y, positions_one_pixel_low=defects.positions_one_pixel_low
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = kernel.position_error * result.noise / found.flux * info.pixel_arcsec
        significance = found.flux / (result.noise * kernel.relative_error)
    brightness = aperture_fluxes(data, bad, found.x, found.y, APERTURE * kernel.fwhm, result.noise)
    return SourceList(
        number=np.flatnonzero(keep).astype(np.int32) + 1,
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
        position_error=_position_error(found.flux, kernel, result.noise) * info.pixel_arcsec,
        errors=errors,
        significance=significance,
        brightness=brightness[0],
        brightness_error=brightness[1],
    )


def _position_error(flux: Floats, kernel: StarKernel, noise: float) -> float:
    """Typical error of a position in pixels."""
    amplitude = float(np.median(flux))
    return kernel.position_error * noise / amplitude if amplitude > 0 else math.nan


def _check_pixels(info: FieldInfo, kernel: StarKernel, good: Pixels) -> None:
    box = 2 * kernel.half + 2
    if min(info.shape) < box:
        expected = f"at least {box} x {box} pixels for this fwhm"
        raise InputError(info.path, "keywords NAXIS1, NAXIS2", expected=expected, found=f"{info.shape[::-1]}")
    if good.size == 0:
        found = "only bad ones (NaN or flagged in DQ)"
        raise NothingToAlignError(info.path, "pixels of the image", expected="good pixels", found=found)
    if good.min() == good.max():
        found = f"one value everywhere ({good[0]:g})"
        expected = "an exposure of the sky"
        raise NothingToAlignError(info.path, "pixels of the image", expected=expected, found=found)


def _check_number(
    info: FieldInfo, result: SearchResult, limits: DetectionLimits, defects: Defects, log: logging.Logger
) -> None:
    wanted = f"{limits.srcmin} to {limits.srcmax} point sources (srcmin, srcmax)"
    if not len(result.sources) and not defects.search_into_noise:
        if result.candidates:
            raise _no_star(info, result.candidates, result.threshold)
        found = f"none above the noise (threshold {result.threshold:g})"
        raise NothingToAlignError(
            info.path, "sources", expected=wanted, found=found, remedy="Change fwhm or threshold."
        )
    if not result.wanted:
        if not defects.search_into_noise:
            log.warning(
                "%s: %s are wanted, %d stand out of the noise (threshold %g); these are used",
                info.path,
                wanted,
                len(result.sources),
                result.threshold,
            )
            return
        raise InputError(
            info.path,
            "sources",
            expected=wanted,
            found=f"{len(result.sources)} at the last threshold {result.threshold:g} "
            f"of {result.searches} tried",
            remedy="Change threshold, step, iterations, srcmin or srcmax.",
        )
    if not len(result.sources):
        found = f"none above {result.threshold:g}"
        raise InputError(
            info.path, "sources", expected="one source or more", found=found, remedy="Lower threshold."
        )


def _no_star(info: FieldInfo, candidates: int, threshold: float) -> NothingToAlignError:
    return NothingToAlignError(
        info.path,
        "sources",
        expected="point sources within the limits of sharpness and roundness",
        found=f"none among {candidates} candidates above {threshold:g}",
        remedy="Check fwhm, sharpmin, sharpmax, roundmin and roundmax.",
    )
