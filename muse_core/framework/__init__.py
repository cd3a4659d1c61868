# SPDX-License-Identifier: BSD-3-Clause
"""What a recipe is: its declaration, its frames, its run, its products, its errors.

This package knows nothing of MUSE pixels and nothing of hosts. Importing it loads neither numpy nor
astropy, nor what only a run needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from muse_core.framework.execution import RunContext, run_recipe
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

# a name is loaded when it is asked for: tools that need the errors only do not wait for the declarations
_HOME = {
    "defects": ("Defects",),
    "errors": ("Fault", "InputError", "LimitError", "LostWorkerError", "ParameterError", "Problems")
    + ("RecipeError", "WriteError"),
    "execution": ("RunContext", "run_recipe"),
    "frames": ("Frame", "Frames", "ProductFrame"),
    "kinds": ("FloatList", "Method", "NumberOrNone", "Words"),
    "settings": ("Environment",),
    "sof": ("MissingFileError",),
    "spec": ("CALIB_MISMATCH", "Input", "Manual", "Param", "ParamValues", "Product", "RecipeSpec")
    + ("value_text",),
    "variables": ("Variable",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            found = getattr(importlib.import_module(f"muse_core.framework.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
