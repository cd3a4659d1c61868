# SPDX-License-Identifier: BSD-3-Clause
"""All rows are moved to where they were seen at the reference wavelength."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from muse_core.postproc.refraction.dar import DarModel, fit_dar, skip_cards

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction


def correct(
    exposure: Reduction,
    calibrations: None,
    p: ParamValues,
    ctx: RunContext,
) -> DarModel | None:
    """Take out the differential atmospheric refraction."""
    model = fit_dar(exposure.keywords, p.lambdaref, ctx.log, method=p.dar_method, compat=ctx.compat)
    if model is None:
        for card in skip_cards(exposure.product.header, p.lambdaref, compat=ctx.compat):
            exposure.product.set_card(*card)
        return None
    # the header rounds to seven digits; the astrometry needs the full values
    exposure.reference_limits = exposure.chain.limits()
    return replace(model, before=exposure.reference_limits)
