# SPDX-License-Identifier: BSD-3-Clause
"""From pixels to the sky: the projection, and then the position of the exposure with its offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.calibration import read_astrometry
from muse_core.data.header_values import get_float, get_str
from muse_core.data.offset_list import OffsetList
from muse_core.postproc.astrometry.offsets import load_offsets
from muse_core.postproc.astrometry.position import PositionModel, fit_position
from muse_core.postproc.astrometry.projection import WCS_STATE, AstrometryModel, fit_astrometry
from muse_core.postproc.astrometry.whole_field import ifu_heights, whole_field
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.reduction import PREDAR
from muse_core.postproc.exposure.row_limits import RowLimits

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


@dataclass(frozen=True)
class AstrometryCalibrations:
    """Where the field is on the sky, None where it was not given."""

    solution: Header | None
    """ASTROMETRY_WCS."""
    offsets: OffsetList | None
    """OFFSET_LIST."""


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> AstrometryCalibrations:
    """Read ASTROMETRY_WCS and OFFSET_LIST."""
    solution = frames.read("ASTROMETRY_WCS", read_astrometry)
    frames.check("ASTROMETRY_WCS", solution)
    return AstrometryCalibrations(solution, load_offsets(frames, p, ctx))


def correct(
    exposure: Reduction, calibrations: AstrometryCalibrations, p: ParamValues, ctx: RunContext
) -> AstrometryModel | Skipped:
    """Project the rows onto the sphere by the astrometric solution."""
    if not p.astrometry:
        return Skipped(AstrometryModel.name, "astrometry=false")
    state = get_str(exposure.product.header, WCS_STATE) or ""
    if state.startswith(("projected", "positioned")):
        return Skipped(AstrometryModel.name, "made before", earlier=True)
    ctx.flag("CALIBRATED ASTROMETRY", calibrations.solution is not None, "ASTROMETRY_WCS was used")
    model = projection_of(exposure, calibrations.solution, ctx)
    exposure.product.position_unit = "rad"
    exposure.chain.polar = True
    return model


def projection_of(exposure: Reduction, solution: Header | None, ctx: RunContext) -> AstrometryModel:
    """Return the projection of an exposure, from its limits before the refraction correction."""
    limits = exposure.reference_limits or _predar_limits(exposure.product.header) or exposure.chain.limits()
    if not ctx.defects.middle_of_the_rows:
        whole = whole_field(limits, ifu_heights(exposure.chain.files))
        shift = 0.5 * (sum(whole.y) - sum(limits.y))
        if shift:
            ctx.log.info(
                "exposure %d: the middle of the field is %.1f pixels from that of the data: IFUs are missing",
                exposure.number,
                abs(shift),
            )
        limits = whole
    return fit_astrometry(exposure.keywords, (*limits.x, *limits.y), solution, ctx.log)


def _predar_limits(header: Header) -> RowLimits | None:
    """Return the limits before the refraction correction from the header of a corrected table."""
    values = [get_float(header, f"{PREDAR} {key}") for key in ("XLO", "XHI", "YLO", "YHI")]
    if any(value is None for value in values):
        return None
    xlo, xhi, ylo, yhi = (float(v) for v in values if v is not None)
    return RowLimits((xlo, xhi), (ylo, yhi), (0.0, 0.0), (0, 0), (0, 0))


def place(
    exposure: Reduction, calibrations: AstrometryCalibrations, p: ParamValues, ctx: RunContext
) -> PositionModel | None:
    """Turn native into celestial coordinates, with the exposure's offset and flux scale."""
    if not p.astrometry:
        return None
    header = exposure.product.header
    if (get_str(header, WCS_STATE) or "").startswith("positioned"):
        exposure.position = PositionModel(float(header["CRVAL1"]), float(header["CRVAL2"]), 1.0, None)
        return None
    exposure.position = fit_position(exposure.keywords, calibrations.offsets, ctx.log)
    exposure.product.position_unit = "deg"
    exposure.chain.polar = False
    return exposure.position
