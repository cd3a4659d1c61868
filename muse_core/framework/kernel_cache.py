# SPDX-License-Identifier: BSD-3-Clause
"""Where compiled kernels are kept: by the contents of their sources, whole or not at all.

numba keeps a compiled function beside its source file, for the time at which that was changed: an upgrade or
a copy of an environment compiles anew, a function of another file that was compiled into it is not noticed
when it changes, and a damaged file ends the run. Here they stand in a folder of the package, or, where that
cannot be written, in the user's cache folder, below the digest of their file and of all that it imports of
this package, and each file holds a digest of itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import pickle
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llvmlite import binding
from numba.core import caching, config
from numba.core.runtime import rtsys

from muse_core.framework.places import cache_folder
from muse_core.framework.settings import is_own_process

TOP = Path(__file__).resolve().parents[2]
PACKAGES = ("muse_core", "imphot")
SHARED = TOP / "muse_core" / "_kernels"
"""Kernels of an installation, for all its users: it moves with it and outlives an upgrade."""
OLD_SECONDS = 60 * 86400.0
LONGEST_WAIT = 120.0
"""Seconds to wait for another process that compiles a kernel, before it is compiled here, too."""
_DIGEST = 16
_IMPORT = re.compile(rb"^(?:from|import) ((?:muse_core|imphot)[\w.]*)", re.MULTILINE)
_write_to: list[Path] = []


def write_to(folder: Path) -> None:
    """Keep what is compiled from now on in another folder; to be called before kernels are imported."""
    _write_to[:] = [folder]


@cache
def _imports_of(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    """Return the contents of a source file, and the files of this package that it imports when it is read.

    The framework is left out: it knows no arrays.
    """
    text = path.read_bytes()
    found: dict[Path, None] = {}
    for name in _IMPORT.findall(text):
        words = name.decode().split(".")
        if words[:2] == ["muse_core", "framework"]:
            continue
        for file in (TOP.joinpath(*words).with_suffix(".py"), TOP.joinpath(*words, "__init__.py")):
            if file.is_file():
                found[file] = None
    return text, tuple(found)


@cache
def digest_of(path: Path) -> str:
    """Return the digest of a source file and of all that it imports of this package."""
    seen, waiting = {path}, [path]
    while waiting:
        for file in _imports_of(waiting.pop())[1]:
            if file not in seen:
                seen.add(file)
                waiting.append(file)
    digest = blake2b(digest_size=_DIGEST)
    for file in sorted(seen):
        digest.update(f"{file.relative_to(TOP)}\n".encode() + _imports_of(file)[0])
    return digest.hexdigest()


@cache
def own_folder() -> Path | None:
    """Return the folder for what is compiled here; None where this user has none of his own."""
    if _write_to:
        return _write_to[0]
    if os.access(SHARED if SHARED.is_dir() else SHARED.parent, os.W_OK):
        return SHARED
    try:
        base = cache_folder() / "kernels"
        base.mkdir(parents=True, exist_ok=True)
        state = base.stat()
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    mine = state.st_uid == os.getuid() and not state.st_mode & stat.S_IWOTH and os.access(base, os.W_OK)
    return base if mine else None


def _remove_old(folder: Path) -> None:
    """Remove the kernels of sources that have been replaced long ago."""
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime > OLD_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)


class ContentLocator(caching._CacheLocator):  # noqa: SLF001
    """Tells numba where the kernels of this package are kept; of all other functions it knows nothing."""

    def __init__(self, path: Path, digest: str, line: int) -> None:
        self._path, self._digest, self._line = path, digest, line
        self._py_file = str(path)  # numba names it in warnings

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> ContentLocator | None:
        """Return the place of a function, or None."""
        try:
            name = Path(py_file).resolve().relative_to(TOP)
        except ValueError:
            return None
        if name.parts[0] not in PACKAGES:
            return None
        digest = digest_of(TOP / name)
        inner = Path(".".join(name.with_suffix("").parts), digest)
        line = py_func.__code__.co_firstlineno
        if SHARED.is_dir() and not _write_to:
            index = f"{name.stem}.{py_func.__qualname__}-{line}.*.nbi".replace("<", "").replace(">", "")
            if any((SHARED / inner).glob(index)):
                return cls(SHARED / inner, digest, line)
        own = own_folder()
        return None if own is None else cls(own / inner, digest, line)

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(self._path)

    def get_source_stamp(self) -> str:
        """Return what the kernels hold for: the contents of all sources."""
        return self._digest

    def get_disambiguator(self) -> str:
        """Return what tells functions of one name in a file apart."""
        return str(self._line)

    def ensure_cache_path(self) -> None:
        """Make the folder; where that is not possible, the kernel is not kept."""
        with contextlib.suppress(OSError):
            if not self._path.exists():
                self._path.mkdir(parents=True, exist_ok=True)
                _remove_old(self._path.parent)


class WholeFiles(caching.IndexDataCacheFile):
    """Index and data files of our kernels with a digest of themselves; damaged ones are made again."""

    @property
    def _is_ours(self) -> bool:
        path = Path(self._cache_path)
        return any(base is not None and path.is_relative_to(base) for base in (SHARED, own_folder()))

    def _dump(self, obj: object) -> bytes:
        data: bytes = super()._dump(obj)
        return data + blake2b(data, digest_size=_DIGEST).digest() if self._is_ours else data

    def _check(self, path: str, skip: int = 0) -> None:
        data = Path(path).read_bytes()[skip:]
        if blake2b(data[:-_DIGEST], digest_size=_DIGEST).digest() != data[-_DIGEST:]:
            raise OSError(f"{path} is damaged")

    def _load_index(self) -> dict[Any, str]:
        if not self._is_ours:
            found: dict[Any, str] = super()._load_index()
            return found
        try:
            version = len(pickle.dumps(self._version, protocol=-1))
            if Path(self._index_path).exists():
                self._check(self._index_path, version)
            known: dict[Any, str] = super()._load_index()
        except Exception:  # noqa: BLE001  whatever damage does to a pickle
            return {}
        return known

    def _load_data(self, name: str) -> Any:
        if self._is_ours:
            try:
                self._check(self._data_path(name))
                return super()._load_data(name)
            except Exception as error:
                raise OSError(f"{name} cannot be read") from error
        return super()._load_data(name)

    def save(self, key: Any, data: Any) -> None:
        """Keep a kernel; a full or read-only disk costs its compilation in the next run and nothing else."""
        try:
            super().save(key, data)
        except OSError:
            if not self._is_ours:
                raise


class MachineCode(caching.CompileResultCacheImpl):
    """Keeps no intermediate code: what becomes part of other kernels is never taken from the cache."""

    def reduce(self, data: Any) -> Any:
        """Return what is kept of a compiled kernel; numba looks up in the intermediate code what there is."""
        (name, kind, (code, _)), *rest = super().reduce(data)
        there = (data.fndesc.llvm_func_name, data.fndesc.llvm_cpython_wrapper_name)
        text = "\n".join(f'define void @"{function}"() {{ ret void }}' for function in there)
        return (name, kind, (code, binding.parse_assembly(text).as_bitcode())), *rest


def _without_linear_algebra() -> None:
    """Load what numba knows of numpy without scipy.linalg, which takes a twentieth of all imports.

    numba looks whether matrix products can be compiled; no kernel has one. Not done in a process that may
    have kernels of others.
    """
    library = "scipy.linalg.cython_blas"
    if library in sys.modules or not is_own_process():
        return
    sys.modules.update({library: None})  # type: ignore[dict-item]  # an import of it fails
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules[library]


class SharedCache(caching.FunctionCache):
    """The compiled forms of a kernel; of several processes that need one the first compiles, others wait."""

    _impl_class = MachineCode

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._lock: int | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a compiled form, or None: then this process is to compile it, and holds the lock."""
        found = self._kept(sig, target_context)
        if found is None and self._lock is None and self._locked(LONGEST_WAIT):
            found = self._kept(sig, target_context)
            if found is not None:
                self.unlock()
        if found is None:
            _without_linear_algebra()
        return found

    def _kept(self, sig: Any, target_context: Any) -> Any:
        """Return a compiled form that is there.

        numba would load before all that it knows about compiling, which takes longer than the kernels.
        """
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled form, and let those go on that wait for it."""
        try:
            super().save_overload(sig, data)
        finally:
            self.unlock()

    def begun(self, sig: Any, target_context: Any) -> bool:
        """Hold the lock and return True if a form is neither there nor being made by another process."""
        if not self._locked(0.0):
            return False
        _without_linear_algebra()
        target_context.refresh()
        if self._cache_file.load(self._index_key(sig, target_context.codegen())) is None:
            return True
        self.unlock()
        return False

    def _locked(self, seconds: float) -> bool:
        """Take the lock, or wait for it; False if it cannot be had in time, or there are no locks here."""
        self._impl.locator.ensure_cache_path()
        path = Path(self._cache_path, f"{self._impl.filename_base}.lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(0.02)
                    continue
            except OSError:
                pass
            else:
                self._lock = lock
                return True
            os.close(lock)
            return False

    def unlock(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def install() -> None:
    """Have numba keep the kernels of this package here; those decorated before stay where they are.

    A folder that the user has chosen (NUMBA_CACHE_DIR) is left to numba.
    """
    chosen = getattr(config, "CACHE_LOCATOR_CLASSES", None)
    if getattr(config, "CACHE_DIR", "") or chosen is None:
        return  # an old numba has no such setting
    ours = f"{__name__}.{ContentLocator.__name__}"
    if ours in chosen:
        return
    known = caching.CacheImpl._locator_classes  # noqa: SLF001  there is no other way to say "and all of yours"
    others = chosen or ",".join(f"{kind.__module__}.{kind.__name__}" for kind in known)
    setattr(config, "CACHE_LOCATOR_CLASSES", f"{ours},{others}")  # noqa: B010  numba makes it when it is read
    setattr(caching, "IndexDataCacheFile", WholeFiles)  # noqa: B010
