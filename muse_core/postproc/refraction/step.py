# SPDX-License-Identifier: BSD-3-Clause
"""All rows are moved to where they were seen at the reference wavelength."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from muse_core.framework import ParameterError
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.refraction.dar import SKIPPED_CARD, DarModel, fit_dar

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction

REFERENCES = (2000.0, 20000.0)
"""Wavelengths [Angstrom] to which positions may be referred."""


def correct(
    exposure: Reduction,
    calibrations: None,
    p: ParamValues,
    ctx: RunContext,
) -> DarModel | Skipped:
    """Take out the differential atmospheric refraction.

    Raises
    ------
    ParameterError
        for a reference at which air has no refraction that is known
    """
    if 0.0 <= p.lambdaref and not REFERENCES[0] <= p.lambdaref <= REFERENCES[1]:
        raise ParameterError(
            f"parameter lambdaref={p.lambdaref:g}: expected {REFERENCES[0]:g} to {REFERENCES[1]:g} Angstrom, "
            "or a negative number for no correction"
        )
    model = fit_dar(
        exposure.keywords,
        p.lambdaref,
        ctx.log,
        method=p.dar_method,
        lab_air_without_latitude=ctx.defects.lab_air_without_latitude,
        water_vapour_tenfold=ctx.defects.water_vapour_tenfold,
    )
    if isinstance(model, Skipped):
        if model.earlier and p.lambdaref < 0.0 and ctx.defects.refraction_denied:
            return replace(model, cards=(SKIPPED_CARD,))
        return model
    exposure.reference_limits = exposure.chain.limits()
    rounded = ctx.defects.predar_limits_rounded
    return replace(model, before=exposure.reference_limits, rounded=rounded)
