# SPDX-License-Identifier: BSD-3-Clause
"""What a recipe is: its declaration, its frames, its run, its products, its errors.

This package knows nothing of MUSE pixels and nothing of hosts. Importing it loads neither numpy nor
astropy.
"""

from muse_core.framework.errors import Fault, InputError, ParameterError, Problems, RecipeError
from muse_core.framework.execution import RunContext, run_recipe
from muse_core.framework.frames import Frame, Frames, ProductFrame
from muse_core.framework.sof import MissingFileError
from muse_core.framework.spec import Input, Param, ParamValues, Product, RecipeSpec, value_text

__all__ = [
    "Fault",
    "Frame",
    "Frames",
    "Input",
    "InputError",
    "MissingFileError",
    "Param",
    "ParamValues",
    "ParameterError",
    "Problems",
    "Product",
    "ProductFrame",
    "RecipeError",
    "RecipeSpec",
    "RunContext",
    "run_recipe",
    "value_text",
]
