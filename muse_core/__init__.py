# SPDX-License-Identifier: BSD-3-Clause
"""muse_core: MUSE data reduction, the steps and the framework behind the recipes.

``aperture_variance`` and ``noise_factor`` tell the errors of sums over voxels of a cube (docs/noise.md);
``from muse_core import Recipe`` gives the python-cpl style interface:

>>> from muse_core import Recipe
>>> any(name == "muse_scipost" for name, versions in Recipe.list())
True
"""

from typing import Any

from muse_core.version import __version__

__all__ = ["Recipe", "__version__", "aperture_variance", "noise_factor"]


def __getattr__(name: str) -> Any:
    if name == "Recipe":
        from muse_core.cpl import Recipe

        return Recipe
    if name in ("aperture_variance", "noise_factor"):
        from muse_core.resampling import apertures

        return getattr(apertures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
