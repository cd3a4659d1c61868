# SPDX-License-Identifier: BSD-3-Clause
"""What the cube and its images need besides rows: world coordinates, and filters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.output_wcs import output_wcs_as_c, read_output_wcs
from muse_core.data.rules import check
from muse_core.framework import InputError
from muse_core.resampling.collapse import WHITE, Filter, load_filters

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames

WITH_CUBE = frozenset(("cube", "sums"))
"""What a cube is made for."""
IMAGES = "an image was made for every filter"


@dataclass(frozen=True)
class CubeCalibrations:
    """World coordinates that the cube is to have (OUTPUT_WCS) or None, and the filters of its images."""

    output_wcs: Header | None
    filters: tuple[Filter, ...]


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> CubeCalibrations:
    """Read OUTPUT_WCS (but for sums that have a grid already) and FILTER_LIST, if a cube is to be made."""
    if not WITH_CUBE.intersection(p.save):
        return CubeCalibrations(None, ())
    reader = output_wcs_as_c if ctx.defects.pc_matrix_passed_over else read_output_wcs
    wcs = None if frames["DATACUBE_SUMS"] else frames.read("OUTPUT_WCS", reader, products="cube")
    if wcs is not None:
        frames.check("OUTPUT_WCS", wcs)
    return CubeCalibrations(wcs, _filters(frames, p, ctx))


def _filters(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> tuple[Filter, ...]:
    # the C recipe takes blanks for parts of the names
    names = str(p["filter"]).split(",") if ctx.defects.blanks_in_filter_names else p.filter
    frame = frames.first("FILTER_LIST")
    try:
        found, missing = load_filters(names, None if frame is None else frame.path)
    except InputError as error:
        ctx.problems.extend(error)
        return ()
    check_filters(found, frame, ctx)
    for name in dict.fromkeys(missing):
        place = f"in {frame.name}" if frame else "(no FILTER_LIST was given)"
        ctx.undone("FILTERS COMPLETE", f"filter {name} not found {place}, no image is made for it", IMAGES)
    if not missing and any(band.name != WHITE for band in found):
        ctx.flag("FILTERS COMPLETE", True, IMAGES)
    if any(band.name != WHITE for band in found):
        frames.use("FILTER_LIST", "images")
    return tuple(found)


def check_filters(filters: Iterable[Filter], frame: Frame | None, ctx: RunContext) -> None:
    """Note where the curves of filters break the rules of the FILTER_LIST."""
    for each in filters:
        columns = {"lambda": each.wavelength, "throughput": each.throughput}
        check(f"{frame.path if frame else ''} ({each.name})", INPUT_RULES["FILTER_LIST"], columns, ctx)
