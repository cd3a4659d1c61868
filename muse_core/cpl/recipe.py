# SPDX-License-Identifier: BSD-3-Clause
"""A recipe as a Python object."""

from __future__ import annotations

import shutil
import tempfile
import textwrap
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muse_core.cpl import html
from muse_core.cpl.frames import FrameList, expand, input_file, is_hdulist
from muse_core.cpl.logger import LogServer
from muse_core.cpl.param import ParameterList
from muse_core.cpl.result import CplError, RecipeCrash, Result, Stat
from muse_core.framework.errors import RecipeError, did_you_mean
from muse_core.framework.registry import LoadedRecipe, load, recipe_folder
from muse_core.framework.settings import child_environment
from muse_core.framework.spec import RecipeSpec
from muse_core.hosts.client import run_in_worker
from muse_core.hosts.wire import installed_recipe

_CALL_OPTIONS = ("raw", "tag", "threaded", "loglevel", "logname", "output_dir", "param", "calib", "env")
builtin_list = list  # Recipe.list hides the name


class Recipe:
    """A recipe with its parameters and calibration frames, called like a function.

    >>> Recipe("muse_no_such_recipe")
    Traceback (most recent call last):
    OSError: Recipe 'muse_no_such_recipe' not found ...

    Parameters
    ----------
    name : recipe name
    filename : recipe file, instead of the search in `Recipe.path`
    version : version wanted (text or number); an error if there is another one
    threaded : run calls in the background
    """

    path: Any = [str(recipe_folder())]
    memory_mode = 0
    _slots: threading.BoundedSemaphore | None = None

    def __init__(
        self, name: str, filename: str | None = None, version: str | int | None = None, threaded: bool = False
    ) -> None:
        self._loaded = _find(name, filename)
        spec = self._loaded.spec
        if version is not None and version not in (spec.version, spec.version_text):
            raise OSError(
                f"wrong version {(spec.version, spec.version_text)} (requested {version}) for {name} "
                f"in {self._loaded.file}"
            )
        self.__name__ = spec.name
        self.__file__ = str(self._loaded.file)
        self.__author__ = spec.author
        self.__email__ = spec.email
        self.__version__ = spec.version_text
        self.__copyright__ = _copyright()
        self.version = (spec.version, spec.version_text)
        self.description = (spec.summary, spec.description)
        self.cpl_version = "7.2.3"
        self.cpl_description = "no CPL library in use"
        self.threaded = threaded
        self.env: dict[str, str | None] = {}
        self.output_dir: str | None = None
        self.temp_dir: str | None = "."
        self.memory_dump = 0
        self.mtrace = False
        self._param = ParameterList.from_spec(spec)
        self._calib = FrameList(i for i in spec.inputs if i.group != "RAW")
        self._tags = [declared.tag for declared in spec.inputs if declared.group == "RAW"]
        self._tag = self._tags[0] if self._tags else None

    @staticmethod
    def list() -> list[tuple[str, list[str]]]:
        """List recipes with their versions."""
        found = []
        for name, file in sorted(_recipe_files().items()):
            try:
                found.append((name, [load(name, [file.parent], shipped=False).spec.version_text]))
            except Exception:  # noqa: S112  a broken or foreign file is no recipe
                continue
        return found

    @staticmethod
    def get_recipefilename(name: str, version: str | int | None = None) -> str:
        """Return the file of a recipe."""
        return Recipe(name, version=version).__file__

    @staticmethod
    def get_libs() -> builtin_list[str]:
        """Return the files of all recipes."""
        files = _recipe_files()
        return [str(files[name]) for name, _ in Recipe.list()]

    @staticmethod
    def set_maxthreads(number: int) -> None:
        """Limit how many threaded calls run at once."""
        Recipe._slots = threading.BoundedSemaphore(number)

    @property
    def param(self) -> ParameterList:
        """The parameters; assigning a dict or an rc file replaces all."""
        return self._param

    @param.setter
    def param(self, values: Any) -> None:
        self._param.replace(values)

    @param.deleter
    def param(self) -> None:
        self._param.replace(None)

    @property
    def calib(self) -> FrameList:
        """The calibration frames; assigning a dict or a set of frames replaces all."""
        return self._calib

    @calib.setter
    def calib(self, frames: Any) -> None:
        self._calib.replace(frames)

    @calib.deleter
    def calib(self) -> None:
        self._calib.replace(None)

    @property
    def tags(self) -> builtin_list[str]:
        """Raw tags."""
        return builtin_list(self._tags)

    @tags.setter
    def tags(self, tags: Any) -> None:  # noqa: ARG002
        raise AttributeError("Tags are immutable")

    @property
    def tag(self) -> str | None:
        """The raw tag for files given without one."""
        return self._tag

    @tag.setter
    def tag(self, tag: str | None) -> None:
        if tag is not None and tag not in self._tags:
            raise KeyError(f"Tag {tag!r} not in {self._tags}{did_you_mean(str(tag), self._tags)}")
        self._tag = tag

    @property
    def output(self) -> dict[str, Any]:
        """Product tags of each raw tag."""
        products = [product.tag for product in self._loaded.spec.products]
        return {tag: products if tag == self._tags[0] else [] for tag in self._tags}

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        spec = self._loaded.spec
        about = "\n".join(textwrap.fill(part, 70) for part in spec.description.split("\n"))
        raw = "\n".join(f" {tag} --> {products}" for tag, products in self.output.items())
        calib = [config.tag for config in self._calib]
        return (
            f"{textwrap.fill(spec.summary, 70)}\n\n{about}\n\nParameters:\n{self._param.__doc__}\n"
            f"Calibration frames: {calib}\n\nRaw and product frames:\n{raw}\n"
        )

    def __repr__(self) -> str:
        return f"Recipe({self.__name__!r}, version = {self.version[0]})"

    def _repr_html_(self) -> str:
        spec = self._loaded.spec
        about = html.table(f"{spec.name} {spec.version_text}", ("what it does",), [[spec.summary]])
        parts = (self._param, self._calib)
        return about + "".join(part._repr_html_() for part in parts)  # noqa: SLF001  the notebook protocol's name

    def __setattr__(self, name: str, value: Any) -> None:
        loaded = self.__dict__.get("_loaded")
        if loaded is not None and not name.startswith("_"):
            self._refuse_misplaced(name, loaded.spec)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        loaded = self.__dict__.get("_loaded")
        if loaded is not None and not name.startswith("_"):
            self._refuse_misplaced(name, loaded.spec)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _refuse_misplaced(self, name: str, spec: RecipeSpec) -> None:
        """Raise an error for the name of a parameter or calibration frame that was meant to be set below."""
        for place, known in (
            ("param", [param.name for param in spec.params]),
            ("calib", [declared.tag for declared in spec.inputs if declared.group != "RAW"]),
        ):
            if name in known:
                raise AttributeError(f"recipe.{name} is no attribute; did you mean recipe.{place}.{name}?")

    def __call__(self, *data: Any, **options: Any) -> Any:
        """Run the recipe on files or HDULists.

        Parameters
        ----------
        data : file name, HDUList, list of them, several of them, or dict tag -> file(s); also as ``raw=``
        options : tag, threaded, loglevel, logname, output_dir, param, calib, env
        """
        self._check_options(options)
        raw = self._raw_frames(data, options)
        threaded = self.threaded if options.get("threaded") is None else options["threaded"]
        output_dir = options.get("output_dir") or self.output_dir
        settings = self._param.settings(options.get("param"))
        frames = expand({**raw, **_without(self._calib.chosen(options.get("calib")), raw)})
        only = next(iter(raw.values())) if len(raw) == 1 else None
        as_list = isinstance(only, builtin_list) and not is_hdulist(only) and len(only) == 1
        environment = child_environment({**self.env, **(options.get("env") or {})})
        server = LogServer(options.get("logname") or f"cpl.{self.__name__}", options.get("loglevel"))
        folder, temporary = self._folder(output_dir)

        raw_tags = {*self._tags, *raw}
        try:
            # written now: the caller may change an HDUList as soon as a threaded call has returned
            files = [(input_file(tag, item, folder, signed=tag not in raw_tags), tag) for tag, item in frames]
        except BaseException:
            if temporary:
                shutil.rmtree(folder, ignore_errors=True)
            raise

        def run() -> Result:
            return _run(self._loaded, settings, files, folder, temporary, environment, server, as_list)

        return Threaded(run, Recipe._slots) if threaded else run()

    def _check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse an option that looks like a slip; others are passed over, as in python-cpl."""
        for name in options:
            if name in _CALL_OPTIONS:
                continue
            if name in self._param or name in self._calib:
                place = "param" if name in self._param else "calib"
                raise TypeError(f"unknown option {name!r}; did you mean {place}={{{name!r}: ...}}?")
            hint = did_you_mean(name, _CALL_OPTIONS)
            if hint:
                raise TypeError(f"unknown option {name!r}{hint}")

    def _raw_frames(self, data: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
        tag = options.get("tag")
        if tag is not None and tag not in self._tags and not self._tags:
            raise KeyError(tag)
        tag = tag or self._tag
        given: Any = options.get("raw")
        if data:
            given = data[0] if len(data) == 1 else list(data)
        if given is None:
            raise ValueError("No raw frames specified.")
        if isinstance(given, Mapping):
            return dict(given)
        if tag is None:
            raise ValueError("No raw tag specified.")
        return {tag: given}

    def _folder(self, output_dir: str | None) -> tuple[Path, bool]:
        if output_dir:
            folder = Path(output_dir).expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
            return folder, False
        place = Path(self.temp_dir).absolute() if self.temp_dir is not None else None
        return Path(tempfile.mkdtemp(prefix=f"{self.__name__}-", dir=place)), True


class Threaded(threading.Thread):
    """A running recipe; reading any of its results waits for the end."""

    def __init__(self, run: Any, slots: threading.BoundedSemaphore | None) -> None:
        super().__init__()
        self._run_recipe = run
        self._slots = slots
        self._result: Any = None
        self._exception: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Run the recipe (called by the thread)."""
        if self._slots is not None:
            self._slots.acquire()
        try:
            self._result = self._run_recipe()
        except Exception as error:  # raised in the caller's thread, by `result`
            self._exception = error
        finally:
            if self._slots is not None:
                self._slots.release()

    @property
    def result(self) -> Result:
        """The result; errors of the run are raised here."""
        self.join()
        if self._exception is not None:
            raise self._exception
        found: Result = self._result
        return found

    def __getitem__(self, tag: str) -> Any:
        return self.result[tag]

    def __contains__(self, tag: str) -> bool:
        return tag in self.result

    def __len__(self) -> int:
        return len(self.result)

    def __iter__(self) -> Any:
        return iter(self.result)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.result, name)


def _run(
    loaded: LoadedRecipe,
    settings: Mapping[str, str],
    files: Sequence[tuple[str, str]],
    folder: Path,
    temporary: bool,
    environment: Mapping[str, str],
    server: LogServer,
    as_list: bool,
) -> Result:
    try:
        outcome = run_in_worker(
            loaded, settings, files, folder=folder, environment=environment, message=server.message
        )
        if outcome.signal and not outcome.ended:
            raise RecipeCrash(outcome.signal, server.entries)
        if outcome.status != 0 or not outcome.ended:
            raise CplError(outcome.status, outcome.errors, server.entries)
        stat = Stat(outcome.status, outcome.user_time, outcome.sys_time)
        return Result(folder, outcome, server.entries, keep_files=not temporary, as_list=as_list, stat=stat)
    finally:
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)


def _without(frames: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    return {tag: files for tag, files in frames.items() if tag not in taken}


def _recipe_files() -> dict[str, Path]:
    """Return name -> file of what `Recipe.path` holds; the first folder wins."""
    found: dict[str, Path] = {}
    places = Recipe.path.split(":") if isinstance(Recipe.path, str) else Recipe.path
    for place in (Path(str(p)).expanduser() for p in places if str(p)):
        for file in sorted(place.rglob("*.py")) if place.is_dir() else []:
            text = file.read_text(encoding="utf-8", errors="replace")
            if file.stem.isidentifier() and "RECIPE = " in text and "RecipeSpec" in text:
                found.setdefault(file.stem, file.resolve())
        for library in sorted(place.rglob("muse_*.so")) if place.is_dir() else []:
            # a plugin library of ours, compiled for esorex, stands for the recipe that it starts
            started = installed_recipe(library)
            if started is not None:
                found.setdefault(library.stem, started)
    return found


def _find(name: str, filename: str | None) -> LoadedRecipe:
    files = {name: Path(filename).resolve()} if filename else _recipe_files()
    try:
        if name in files:
            return load(name, [files[name].parent], shipped=False)
    except RecipeError:
        pass
    hint = did_you_mean(name, files)
    raise OSError(f"Recipe {name!r} not found at path {filename or Recipe.path!r}{hint}")


def _copyright() -> str:
    from muse_core.hosts.helptext import license_text

    return license_text()
