# SPDX-License-Identifier: BSD-3-Clause
"""Sphinx: how the pages of this folder become the documentation site (``make docs``)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from muse_core.version import __version__

project = "muse-recipes"
author = "The muse-recipes developers"
copyright = author  # noqa: A001 - sphinx calls it so
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "recipe_pages",
]
exclude_patterns = ["_build", "_ext", "generated/parts"]
# attributes called name, of several classes; headers of tables that programs write
suppress_warnings = ["ref.python", "myst.header"]
nitpicky = False  # docstrings name types in words: float32[ny, nx]

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
nb_execution_mode = "off"  # a test runs the notebooks; their stored pictures are shown

templates_path: list[str] = []
html_theme = "furo"
html_title = "muse-recipes"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"sidebar_hide_name": False}
pygments_style = "friendly"
pygments_dark_style = "native"
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_mock_imports: list[str] = []
napoleon_use_rtype = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

linkcheck_timeout = 20
linkcheck_retries = 2
