# SPDX-License-Identifier: BSD-3-Clause
"""What the declarations of the parameters of muse_scipost cannot say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext


def may_refine(p: ParamValues) -> bool:
    """Tell whether the sky of an exposure may be refined slice by slice."""
    return p.skymethod in ("simple", "model") and (
        p.sky_refine == "true" or (p.sky_refine == "auto" and not p.compat)
    )


def check_settings(p: ParamValues, ctx: RunContext) -> None:
    """Check parameters against each other; faults are noted in ``ctx.problems``."""
    if p.lambdamin >= p.lambdamax:
        ctx.problems.add(
            "", "parameters lambdamin, lambdamax", expected="lambdamin < lambdamax",
            found=f"{p.lambdamin:g}, {p.lambdamax:g}",
        )  # fmt: skip
    if p.ld <= 0:
        ctx.log.warning("Overriding loop distance ld=1 (%d was given)", p.ld)
    if p.superflat_pos:
        ctx.log.warning("Overriding RA=%f, DEC=%f, DROT=%f", *p.superflat_pos)
    if getattr(p, "sky_refine", "") == "true" and p.skymethod not in ("simple", "model"):
        ctx.log.warning(
            "sky_refine has no effect with skymethod=%s: there is no sky of the exposure itself", p.skymethod
        )
    if getattr(p, "covariance", False) and p.format.endswith("Euro3D"):
        ctx.problems.add(
            "", "parameters covariance, format",
            expected="a cube: Euro3D tables have no place for COVARIANCE", found=p.format,
        )  # fmt: skip
