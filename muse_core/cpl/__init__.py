# SPDX-License-Identifier: BSD-3-Clause
"""Recipes as Python objects, with the interface of python-cpl and without any ESO software.

>>> from muse_core.cpl import Recipe
>>> Recipe.list()  # doctest: +ELLIPSIS
[...]
"""

from muse_core.cpl import dfs, esorex, frames, logger, param, result
from muse_core.cpl.frames import FrameConfig
from muse_core.cpl.param import Parameter
from muse_core.cpl.recipe import Recipe
from muse_core.cpl.result import CplError, RecipeCrash, Result
from muse_core.version import __version__

# the release whose behaviour is mirrored; no CPL library is used
cpl_versions = ["7.2.3"]

__all__ = [
    "CplError",
    "FrameConfig",
    "Parameter",
    "Recipe",
    "RecipeCrash",
    "Result",
    "__version__",
    "cpl_versions",
    "dfs",
    "esorex",
    "frames",
    "logger",
    "param",
    "result",
]
