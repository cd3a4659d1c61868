# SPDX-License-Identifier: BSD-3-Clause
"""What a recipe is: its declaration, its frames, its run, its products, its errors.

This package knows nothing of MUSE pixels and nothing of hosts. Importing it loads neither numpy nor
astropy, nor what only a run needs.
"""

from typing import TYPE_CHECKING, Any

from muse_core.framework.defects import Defects
from muse_core.framework.errors import (
    Fault,
    InputError,
    LimitError,
    LostWorkerError,
    ParameterError,
    Problems,
    RecipeError,
    WriteError,
)
from muse_core.framework.frames import Frame, Frames, ProductFrame
from muse_core.framework.kinds import FloatList, Method, NumberOrNone, Words
from muse_core.framework.settings import Environment
from muse_core.framework.sof import MissingFileError
from muse_core.framework.spec import (
    CALIB_MISMATCH,
    Input,
    Manual,
    Param,
    ParamValues,
    Product,
    RecipeSpec,
    value_text,
)
from muse_core.framework.variables import Variable

if TYPE_CHECKING:
    from muse_core.framework.execution import RunContext, run_recipe

__all__ = [
    "CALIB_MISMATCH",
    "Defects",
    "Environment",
    "Fault",
    "FloatList",
    "Frame",
    "Frames",
    "Input",
    "InputError",
    "LimitError",
    "LostWorkerError",
    "Manual",
    "Method",
    "MissingFileError",
    "NumberOrNone",
    "Param",
    "ParamValues",
    "ParameterError",
    "Problems",
    "Product",
    "ProductFrame",
    "RecipeError",
    "RecipeSpec",
    "RunContext",
    "Variable",
    "Words",
    "WriteError",
    "run_recipe",
    "value_text",
]


def __getattr__(name: str) -> Any:
    if name in ("RunContext", "run_recipe"):  # the machinery of a run: a third of the start of other programs
        from muse_core.framework import execution

        return getattr(execution, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
