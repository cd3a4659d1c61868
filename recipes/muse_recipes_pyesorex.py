# SPDX-License-Identifier: BSD-3-Clause
"""All recipes as PyCPL classes: what pyesorex finds when PYESOREX_PLUGIN_DIR is this folder."""

import os as _os
import sys as _sys
from importlib.util import find_spec as _find_spec

if _find_spec("muse_core") is None:  # a checkout that is not installed
    _sys.path.append(_os.path.dirname(_os.path.dirname(_os.path.realpath(__file__))))  # noqa: PTH120

from muse_core.hosts import pycpl as _adapter  # noqa: E402

globals().update(_adapter.recipe_classes(_adapter.load_pycpl()))
