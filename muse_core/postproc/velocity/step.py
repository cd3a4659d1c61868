# SPDX-License-Identifier: BSD-3-Clause
"""Wavelengths are taken to the barycentre, the Sun or the Earth's centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.postproc.velocity.radial_velocity import RadialVelocity, fit_radial_velocity

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Skipped
    from muse_core.postproc.exposure.reduction import Reduction


def correct(
    exposure: Reduction,
    calibrations: None,
    p: ParamValues,
    ctx: RunContext,
) -> RadialVelocity | Skipped:
    """Correct the wavelengths for the velocity of the observer towards the source."""
    return fit_radial_velocity(
        exposure.keywords,
        p.rvcorr,
        ctx.log,
        longitude_positive_west=ctx.defects.longitude_positive_west,
    )
