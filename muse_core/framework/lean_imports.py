# SPDX-License-Identifier: BSD-3-Clause
"""What a process that only runs a recipe leaves out when it imports `astropy.io.fits`.

That takes a quarter of the start of a run, most of it for what nobody asks for: the table of all units,
because two of its names stand in annotations of `astropy.utils.data`, and the package numcodecs, if it is
there, so that others might find astropy's codecs in it. Whoever imports these later gets them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def _names_of_units() -> ModuleType:
    """Return what stands in for `astropy.units`: the two classes that annotations name."""
    module = ModuleType("astropy.units")
    for name in ("Quantity", "UnitBase"):
        setattr(module, name, type(name, (), {}))
    return module


STANDS_IN: dict[str, tuple[str, Any]] = {
    "astropy.utils.data": ("astropy.units", _names_of_units),
    "astropy.io.fits.hdu.compressed._codecs": ("numcodecs", lambda: None),  # an import of it fails
}
"""What stands in for which module while a module of astropy is loaded."""


class _Loader:
    """Loads a module while another has a stand-in; if that is not enough, as if there were none."""

    def __init__(self, loader: Any, absent: str, stand_in: ModuleType | None) -> None:
        self._loader, self._absent, self._stand_in = loader, absent, stand_in

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to the loader."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        modules: dict[str, Any] = sys.modules
        modules[self._absent] = self._stand_in
        try:
            self._loader.exec_module(module)
        except (ImportError, AttributeError, TypeError):  # an astropy that asks for more
            modules.pop(self._absent, None)
            self._loader.exec_module(module)
        finally:
            if self._absent in modules and modules[self._absent] is self._stand_in:
                del modules[self._absent]


class _Finder:
    """Finds the modules of `STANDS_IN`."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how such a module is loaded; None for all others, and where the other is there already."""
        absent, stand_in = STANDS_IN.get(fullname, ("", None))
        if not absent or absent in sys.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(  # type: ignore[assignment]  # the classes of importlib.abc take 2 ms to load
                spec.loader, absent, stand_in()
            )
        return spec


def install() -> None:
    """Load astropy without these from now on; to be called before it is imported."""
    if not any(finder is _Finder for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder)
