# SPDX-License-Identifier: BSD-3-Clause
"""What the parameters of a recipe say about the treatment of raw frames."""

from __future__ import annotations

from dataclasses import dataclass

from muse_core.detector.combine import CombinePlan
from muse_core.detector.overscan import CorrectPlan, RejectPlan
from muse_core.framework.spec import ParamValues


@dataclass(frozen=True)
class OverscanPlan:
    """Parameters ``ovscreject``, ``overscan``, ``ovscsigma``, ``ovscignore``."""

    reject: RejectPlan = RejectPlan("dcr")
    correct: CorrectPlan = CorrectPlan("vpoly")
    sigma: float = 30.0
    ignore: int = 3


def overscan_plan(p: ParamValues) -> OverscanPlan:
    """Return the plan of a recipe with the parameters `muse_core.detector.declarations.OVERSCAN`."""
    method, numbers = p.ovscreject
    names = {"dcr": ("xbox", "ybox", "passes", "threshold"), "fit": ("sigma",), "none": ()}[method]
    reject = RejectPlan(method, **dict(zip(names, numbers, strict=True)))
    word, numbers = p.overscan
    return OverscanPlan(reject, CorrectPlan(word, *numbers), p.ovscsigma, p.ovscignore)


def combine_plan(p: ParamValues) -> CombinePlan:
    """Return how exposures are combined (parameter ``combine`` and those of the rejection)."""
    return CombinePlan(p.combine, p.nlow, p.nhigh, p.nkeep, p.lsigma, p.hsigma)


def exposures_needed(plan: CombinePlan) -> int:
    """Return how many exposures a combination takes at least.

    >>> exposures_needed(CombinePlan("minmax", nlow=1, nhigh=1, nkeep=2))
    4
    """
    if plan.method == "sigclip":
        return 3
    return plan.nlow + plan.nhigh + plan.nkeep if plan.method == "minmax" else 1


@dataclass(frozen=True)
class DetectorPlan:
    """How raw frames are treated and combined: darks, flats and sky flats."""

    overscan: OverscanPlan
    combine: CombinePlan
    scale: bool

    @classmethod
    def from_parameters(cls, p: ParamValues) -> DetectorPlan:
        """Take the plan from the recipe's parameters."""
        return cls(overscan_plan(p), combine_plan(p), p.scale)
