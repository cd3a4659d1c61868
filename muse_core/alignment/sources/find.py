# SPDX-License-Identifier: BSD-3-Clause
"""The sources of all images: found in them, or read from the lists that are given."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muse_core.alignment.arrays import Floats, Pixels
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.images.opening import read_pixels
from muse_core.alignment.sources.detection import StarKernel, make_kernel, near_bad_pixel
from muse_core.alignment.sources.given_lists import load_source_lists
from muse_core.alignment.sources.source_list import SourceList, sky_positions
from muse_core.alignment.sources.threshold_search import (
    DetectionLimits,
    NoShapeSurvivesError,
    SearchResult,
    detect_sources,
)
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError
from muse_core.framework.execution import RunContext
from muse_core.framework.spec import ParamValues


def find_sources(
    fields: Sequence[FieldInfo], lists: Sequence[Path], p: ParamValues, ctx: RunContext
) -> list[SourceList]:
    """Find the sources of all images, or read the lists that are given in place of that.

    Raises
    ------
    InputError
        About all images without a usable list.
    """
    if lists:
        found = load_source_lists(lists, fields, defects=ctx.defects, problems=ctx.problems)
        ctx.problems.raise_if_any()
        return found
    if p.override_detection:
        ctx.log.info("no SOURCE_LIST given, the sources are detected")
    kernel = make_kernel(p.fwhm)
    limits = DetectionLimits.from_parameters(p)
    found = []
    for info in ctx.progress(fields, "sources"):
        try:
            found.append(detect_field(info, kernel, limits, ctx.defects, ctx.log))
        except InputError as error:
            ctx.problems.extend(error)
    ctx.problems.raise_if_any()
    return found


def detect_field(
    info: FieldInfo, kernel: StarKernel, limits: DetectionLimits, defects: Defects, log: logging.Logger
) -> SourceList:
    """Find the sources of one image; `InputError` if the image or the search gives none to work with."""
    data, bad = read_pixels(info)
    _check_pixels(info, kernel, data[~bad])
    try:
        result = detect_sources(data, bad, kernel, limits)
    except NoShapeSurvivesError as error:
        raise InputError(
            info.path,
            "sources",
            expected="point sources within the limits of sharpness and roundness",
            found=f"none among {error.candidates} candidates above {error.threshold:g}",
            remedy="Check fwhm, sharpmin, sharpmax, roundmin and roundmax.",
        ) from error
    if result.background.npixels == 0:
        log.error("%s: no background pixels between bkgignore and bkgfraction, level 0 is used", info.path)
    _check_number(info, result, limits)
    found = result.sources
    keep = ~near_bad_pixel(
        found.x, found.y, bad, limits.bpixdistance, bad_pixels_up_to_edge=defects.bad_pixels_up_to_edge
    )
    if not keep.any():
        raise InputError(
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
    number = np.flatnonzero(keep).astype(np.int32) + 1
    found = found.take(keep)
    ra, dec = sky_positions(
        info.wcs, found.x, found.y, positions_one_pixel_low=defects.positions_one_pixel_low
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
        position_error=_position_error(found.flux, kernel, result.noise) * info.pixel_arcsec,
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
        raise InputError(info.path, "pixels of the image", expected="good pixels", found=found)
    if good.min() == good.max():
        found = f"one value everywhere ({good[0]:g})"
        raise InputError(info.path, "pixels of the image", expected="an exposure of the sky", found=found)


def _check_number(info: FieldInfo, result: SearchResult, limits: DetectionLimits) -> None:
    if not result.wanted:
        raise InputError(
            info.path,
            "sources",
            expected=f"{limits.srcmin} to {limits.srcmax} point sources (srcmin, srcmax)",
            found=f"{len(result.sources)} at the last threshold {result.threshold:g} "
            f"of {result.searches} tried",
            remedy="Change threshold, step, iterations, srcmin or srcmax.",
        )
    if not len(result.sources):
        found = f"none above {result.threshold:g}"
        raise InputError(
            info.path, "sources", expected="one source or more", found=found, remedy="Lower threshold."
        )
