# SPDX-License-Identifier: BSD-3-Clause
"""Functions that are compiled: numba is loaded, and a function made, when the first of them is called.

Loading numba takes a third of the start of a run, and making the functions of all imported files another
tenth: a run that ends at the checks of its inputs pays for neither.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

_lock = threading.RLock()
_when_loaded: list[Callable[[], object]] = []
_is_loaded: list[bool] = []


def when_loaded(action: Callable[[], object]) -> Callable[[], None]:
    """Call a function once numba is loaded, now or later; returns what takes the wish back."""
    with _lock:
        if _is_loaded:
            action()
        else:
            _when_loaded.append(action)

    def forget() -> None:
        with _lock:
            if action in _when_loaded:
                _when_loaded.remove(action)

    return forget


def _load() -> None:
    """Load numba, tell it where kernels are kept and what ours are."""
    from numba import types
    from numba.extending import typeof_impl

    from muse_core.framework import kernel_cache

    kernel_cache.install()
    typeof_impl.register(Kernel, lambda kernel, _: types.Dispatcher(kernel.linked()))
    typeof_impl.register(CFunction, lambda function, _: function.made())
    _is_loaded.append(True)
    while _when_loaded:
        _when_loaded.pop()()


class Kernel:
    """A function that is compiled when it is called.

    Called from Python it is numba's dispatcher with a cache; what other kernels call is a second one, which
    is compiled no further than to become part of them. All else that is asked of a kernel the first answers.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self._cached = options.get("cache", False)
        self._options = {name: value for name, value in options.items() if name != "cache"}
        self._made: Any = None
        self._linked: Any = None

    def made(self) -> Any:
        """Return the dispatcher for calls from Python; without a compiler, the function itself."""
        if self._made is None:
            with _lock:
                if not _is_loaded:
                    _load()
                if self._made is None:
                    self._made = self._dispatcher()
        return self._made

    def _dispatcher(self) -> Any:
        from numba import njit as compiled

        options = {**self._options, "no_cfunc_wrapper": True}
        made: Any = compiled(**options)(self.py_func)
        if self._cached and made is not self.py_func:
            from muse_core.framework.kernel_cache import SharedCache

            made._cache = SharedCache(self.py_func)  # noqa: SLF001  numba would put one of its own there
        return made

    def linked(self) -> Any:
        """Return the dispatcher for calls from other kernels."""
        if self._linked is None:
            with _lock:
                from numba import njit as compiled

                from muse_core.framework.linked_kernels import OPTIONS, LinkedCompiler

                options = {**self._options, **OPTIONS, "pipeline_class": LinkedCompiler}
                self._linked = compiled(**options)(self.py_func)
        return self._linked

    def compile_beforehand(self, types: tuple[Any, ...]) -> None:
        """Compile the kernel for the cache, unless it is there or another process is at it."""
        made = self.made()
        cache = made._cache  # noqa: SLF001
        if not cache.begun(types, made.targetctx):
            return
        try:
            made.compile(types)
        finally:
            cache.unlock()

    def __call__(self, *args: Any, **named: Any) -> Any:
        return (self._made or self.made())(*args, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.made(), name)

    def __reduce__(self) -> str:
        return self.py_func.__qualname__


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with numba's options when it is first called."""
    return lambda function: Kernel(function, options)


class CFunction:
    """A function of the C library, as compiled functions see it; Python calls the one it stands over."""

    def __init__(self, function: Callable[..., Any], result: str, arguments: tuple[str, ...]) -> None:
        functools.update_wrapper(self, function)
        self._function, self._result, self._arguments = function, result, arguments

    def made(self) -> Any:
        """Return numba's description of it."""
        from numba import types

        arguments = (getattr(types, name) for name in self._arguments)
        return types.ExternalFunction(self._function.__name__, getattr(types, self._result)(*arguments))

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


def c_function(result: str, *arguments: str) -> Callable[[Callable[..., Any]], CFunction]:
    """Have compiled functions call the C function of that name, with numba's names of its types."""
    return lambda function: CFunction(function, result, arguments)
