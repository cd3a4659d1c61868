# SPDX-License-Identifier: BSD-3-Clause
"""Which sky subtraction: the parameter skymethod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.framework import RecipeError
from muse_core.postproc.night_sky import subtract_simple

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.inputs import Calibrations, Settings
    from muse_core.postproc.reduction import Reduction


def subtract_sky(
    reduction: Reduction, p: ParamValues, settings: Settings, calib: Calibrations, ctx: RunContext
) -> None:
    """Subtract the sky of one exposure by the method asked for."""
    if p.skymethod == "none":
        return
    if p.skymethod == "simple":
        subtract_simple(reduction, p, settings, calib, ctx)
        return
    raise RecipeError(f"skymethod={p.skymethod} is not available yet; use simple or none")
