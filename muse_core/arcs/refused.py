# SPDX-License-Identifier: BSD-3-Clause
"""Values of parameters that are refused: what the C recipes do there is not known well enough."""

from __future__ import annotations

from muse_core.framework.errors import ParameterError
from muse_core.framework.spec import ParamValues


def refuse(p: ParamValues) -> None:
    """Refuse the old detection in the sum of all lamps, and straightened images.

    Raises
    ------
    ParameterError
    """
    if not p.lampwise:
        raise ParameterError(
            "parameter lampwise=false: not available; lines are detected in the image of each lamp "
            "(lampwise=true), where lines of different lamps cannot blend"
        )
    if p.resample:
        raise ParameterError(
            "parameter resample=true: not available; muse_scibasic with resample=true, the arc exposures "
            "tagged OBJECT and the new WAVECAL_TABLE show the same"
        )
