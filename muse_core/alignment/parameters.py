# SPDX-License-Identifier: BSD-3-Clause
"""What the declaration of the parameters cannot say: limits of one by another."""

from __future__ import annotations

from muse_core.framework.errors import ParameterError
from muse_core.framework.spec import ParamValues


def check_parameters(p: ParamValues) -> None:
    """Refuse limits that cross, and a list of search radii without any (compatible mode: " , ")."""
    faults = [
        f"{name}max: {high:g} is below {name}min = {low:g}"
        for name, low, high in (
            ("src", p.srcmin, p.srcmax),
            ("round", p.roundmin, p.roundmax),
            ("sharp", p.sharpmin, p.sharpmax),
        )
        if high < low
    ]
    if not p.rsearch:
        faults.append("rsearch: the list of search radii is empty")
    if faults:
        raise ParameterError("\n".join(faults))
