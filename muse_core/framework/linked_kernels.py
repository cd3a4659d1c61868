# SPDX-License-Identifier: BSD-3-Clause
"""How a kernel is compiled that only other kernels call: no further than to what these take into themselves.

numba makes machine code of every function, optimises it, and does both again when the function becomes part
of another one: a quarter of the time of a first run would go into machine code that nobody calls.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler import Compiler

OPTIONS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Nobody calls it from Python or C."""


class _NoEngine:
    """Stands where a library expects the code generator: there is no machine code to tell anything."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: what a function keeps for its calls from Python is not used."""


class LinkedLibrary(CPUCodeLibrary):
    """Holds a function as intermediate code, which is optimised where it is taken in."""

    @property
    def codegen(self) -> Any:
        """The code generator, without its engine."""
        return _NoEngine(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002  numba's interface
        """Return that there is no machine code."""
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


class LinkedCompiler(Compiler):
    """numba's compiler, with such a library."""

    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        super().__init__(typing, target, library or LinkedLibrary(target.codegen(), "linked"), *rest)
