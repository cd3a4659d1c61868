# SPDX-License-Identifier: BSD-3-Clause
"""From pixel coordinates to native spherical coordinates of a gnomonic (tangent-plane) projection."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.header_values import Header, Keywords, get_float, is_narrow_field
from muse_core.framework.log import UNDONE
from muse_core.postproc.astrometry.projection_kernels import project_rows
from muse_core.postproc.exposure.correction import Card
from muse_core.postproc.exposure.pointing import position_angle

WCS_STATE = "ESO DRS MUSE PIXTABLE WCS"
"""Keyword that says how far the positions of a table are on their way to the sky."""
Column = npt.NDArray[np.float32]
Limits = tuple[float, float, float, float]
"""Smallest and largest xpos, smallest and largest ypos of an exposure."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AstrometryModel:
    """Linear transformation from pixels to the tangent plane."""

    name: ClassVar[str] = "astrometry"
    moves: ClassVar[bool] = True
    stretch: ClassVar[float] = 1.0

    cd: tuple[tuple[float, float], tuple[float, float]]
    """Effective matrix [deg/pix], rotated to the position angle of the exposure."""
    x0: float
    y0: float
    """Reference pixel, becomes CRPIX1, CRPIX2."""

    def apply(self, block: Block) -> None:
        """Project the rows of a block onto the sphere."""
        apply_astrometry(block.xpos, block.ypos, self)

    def cards(self) -> list[Card]:
        """Header cards that describe the intermediate coordinates."""
        return [
            ("CRPIX1", self.x0, ""),
            ("CRPIX2", self.y0, ""),
            ("CTYPE1", "RA---TAN", ""),
            ("CTYPE2", "DEC--TAN", ""),
            ("CUNIT1", "deg", ""),
            ("CUNIT2", "deg", ""),
            ("CD1_1", self.cd[0][0], ""),
            ("CD1_2", self.cd[0][1], ""),
            ("CD2_1", self.cd[1][0], ""),
            ("CD2_2", self.cd[1][1], ""),
            (WCS_STATE, "projected (intermediate)", "Gnomonic projection applied to this table"),
        ]


def default_solution(*, narrow_field: bool) -> dict[str, float]:
    """Astrometric solution used if there is no ASTROMETRY_WCS."""
    x_step, y_step = (0.02519, 0.02542) if narrow_field else (0.2, 0.2)
    return {
        "CD1_1": -x_step / 3600,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": y_step / 3600,
        "CRPIX1": 0.0,
        "CRPIX2": 0.0,
    }


def fit_astrometry(
    keywords: Keywords,
    limits: Limits,
    solution: Header | None = None,
    log: logging.Logger = _log,
) -> AstrometryModel:
    """Prepare the projection of an exposure.

    Parameters
    ----------
    keywords : Keywords
        Primary header of the exposure.
    limits : tuple of 4 float
        Limits of xpos and ypos **before** the DAR correction (xlo, xhi, ylo, yhi).
    solution : Header, optional
        Header with the CD matrix and CRPIX of ASTROMETRY_WCS; default: the nominal solution of the mode.
    log : logging.Logger
        Takes the messages.
    """
    if solution is None:
        narrow_field = is_narrow_field(keywords)
        log.warning(
            "Using default MUSE %cFM astrometry, output world coordinates will be inaccurate!",
            "N" if narrow_field else "W",
            extra=UNDONE,
        )
        solution = default_solution(narrow_field=narrow_field)
    cd = effective_cd(solution, position_angle(keywords, log))
    crpix = [get_float(solution, key) or 0.0 for key in ("CRPIX1", "CRPIX2")]
    x_low, x_high, y_low, y_high = (float(v) for v in limits)
    return AstrometryModel(cd, (x_low + x_high) / 2 + crpix[0], (y_low + y_high) / 2 + crpix[1])


def effective_cd(solution: Header, angle_deg: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """CD matrix of a solution turned by the position angle of the exposure.

    Scales and axis angles of the solution are taken apart and put together again (measured against 2.8.7);
    without shear this is the product of a rotation and the CD matrix.
    """
    cd = {key: get_float(solution, key) or 0.0 for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")}
    cd11, cd12, cd21, cd22 = cd["CD1_1"], cd["CD1_2"], cd["CD2_1"], cd["CD2_2"]
    determinant = cd11 * cd22 - cd12 * cd21
    if determinant == 0.0:
        raise ValueError("the CD matrix of the astrometric solution cannot be inverted")
    sign = -1.0 if determinant < 0.0 else 1.0
    x_scale, y_scale = math.hypot(cd11, cd12), math.hypot(cd21, cd22)
    x_angle = math.atan2(sign * cd12, sign * cd11)
    y_angle = math.atan2(-cd21, cd22)
    axes = np.array([[math.cos(x_angle), -math.sin(x_angle)], [math.sin(y_angle), math.cos(y_angle)]])
    p = math.radians(angle_deg)
    rotation = np.array([[math.cos(p), -math.sin(p)], [math.sin(p), math.cos(p)]])
    product = rotation @ np.diag([sign * x_scale, y_scale]) @ np.linalg.inv(axes)
    return (float(product[0, 0]), float(product[0, 1])), (float(product[1, 0]), float(product[1, 1]))


def apply_astrometry(xpos: Column, ypos: Column, model: AstrometryModel) -> None:
    """Replace pixel positions by native spherical coordinates, in place.

    Parameters
    ----------
    xpos, ypos : float32[n]
        Pixels; become the native longitude phi and the native latitude theta minus pi/2 [rad].
    model : AstrometryModel
        Result of `fit_astrometry`.
    """
    (cd11, cd12), (cd21, cd22) = model.cd
    project_rows(xpos, ypos, cd11, cd12, cd21, cd22, model.x0, model.y0)
