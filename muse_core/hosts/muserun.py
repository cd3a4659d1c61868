# SPDX-License-Identifier: BSD-3-Clause
"""The ``muserun`` command: recipes without any ESO software, called like esorex.

``muserun [options] recipe [recipe options] sof...``
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from muse_core.hosts import helptext
from muse_core.hosts.options import (
    IGNORED,
    UsageError,
    environment_values,
    parse_options,
    runner_options,
    split_misplaced,
)
from muse_core.hosts.terminal import (
    LogFileHandler,
    Messages,
    TerminalHandler,
    attached,
    level_number,
    standard_streams,
)
from muse_core.version import __version__

if TYPE_CHECKING:
    from muse_core.framework.frames import Frame
    from muse_core.framework.registry import LoadedRecipe
    from muse_core.hosts.values import Value

PROGRAM = "muserun"
EXIT_MISSING = 9
EXIT_UNKNOWN = 13
EXIT_FAILED = 255
EXIT_DEFECT = 70
"""A fault of the program itself; for inputs, disk, memory and workers see `RecipeError.exit_status`."""
EXIT_SOF = 8
EXIT_INCOMPLETE = 4  # products were delivered, but part of the data could not be made

Settings = dict[str, "Value"]


def banner() -> str:
    """Return the line that heads all output."""
    return f"\n     ***** MUSE recipes in Python, {PROGRAM} version {__version__} *****\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    standard_streams()
    say = Messages(PROGRAM)
    terminal = TerminalHandler(level_number("info"))
    with attached(terminal):
        try:
            print(banner(), flush=True)
            return _command(words, say, terminal)
        except UsageError as error:
            say.error(str(error))
            return EXIT_FAILED
        finally:
            sys.stdout.flush()


def _command(words: list[str], say: Messages, terminal: TerminalHandler) -> int:
    from muse_core.framework import settings as environment
    from muse_core.framework.registry import UnknownRecipeError, load

    environment.own_process()
    options = runner_options()
    parsed = parse_options(words, options)
    settings: Settings = {option.name: option.default for option in options}
    given = {**environment_values(options), **parsed.values}
    settings.update(_configured(given, say))
    settings.update(given)
    terminal.show(level_number(str(settings["msg-level"])))
    for remark in parsed.remarks:
        say.error(remark)
    for name in IGNORED:
        if name in given:
            say.warning(f"option '--{name}' has no effect here")
    rest = words[parsed.position :]
    extra = [folder for folder in str(settings["recipe-dir"]).split(":") if folder]
    if settings["version"]:
        print(f"{PROGRAM} {__version__}\n")
        return 0
    if settings["recipes"]:
        return _show_recipes(extra, say)
    if not rest:
        return _without_recipe(settings, say)
    if settings["params"]:
        print(helptext.parameter_lines("Caller Parameters", options, settings))
    try:
        recipe = load(rest[0], extra)
    except UnknownRecipeError as error:
        say.error(f"Unable to find recipe '{rest[0]}': {error}")
        return EXIT_UNKNOWN
    except Exception as error:
        say.error(f"Recipe '{rest[0]}' cannot be loaded: {type(error).__name__}: {error}")
        return EXIT_UNKNOWN
    return _with_recipe(recipe, rest[1:], settings, say, words)


def _configured(given: Settings, say: Messages) -> Settings:
    from muse_core.hosts.configfile import CALLER, config_values

    known = [option for option in runner_options() if option.configurable]
    if given.get("config"):
        return config_values(str(given["config"]), CALLER, known)
    default = own_file("esorex.rc")
    return config_values(default, CALLER, known, say.warning) if default is not None else {}


def own_file(name: str) -> Path | None:
    """Return a file of the user's folder .esorex; None if it is not there, or there is no such folder."""
    try:
        path = Path.home() / ".esorex" / name
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # a home that is not to be read, or none at all
        return None


def _show_recipes(extra: list[str], say: Messages) -> int:
    from muse_core.framework.registry import load, names

    specs = []
    for name in names(extra):
        try:
            specs.append(load(name, extra).spec)
        except Exception as error:  # one broken file must not hide the others
            say.warning(f"recipe file {name}.py is left out: {type(error).__name__}: {error}")
    print(helptext.recipe_list(specs))
    return 0


def _without_recipe(settings: Settings, say: Messages) -> int:
    options = runner_options()
    if settings["create-config"] != "FALSE":
        from muse_core.hosts.configfile import CALLER, json_config, rc_text, write_config

        path = _config_path(str(settings["create-config"]), "esorex", say)
        known = [option for option in options if option.configurable]
        if path.suffix == ".json":
            text = json_config(CALLER, known, settings)
        else:
            text = rc_text(path.name, CALLER, known, settings, PROGRAM)
        write_config(path, text)
    elif settings["help"]:
        print(f"Usage: {PROGRAM} [{PROGRAM}-options] recipe [recipe-options] sof\n\nOptions:\n")
        print(helptext.option_lines(options) + "\n")
    elif settings["params"]:
        print(helptext.parameter_lines("Caller Parameters", options, settings))
    else:
        print(
            f"No recipe given; '{PROGRAM} --recipes' lists them, '{PROGRAM} --help' explains the options.\n"
        )
    return 0


def _config_path(wanted: str, name: str, say: Messages) -> Path:
    if wanted == "TRUE":
        folder = Path.home() / ".esorex"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.rc"
    else:
        path = Path(wanted)
    say.info(f"Creating configuration file '{path}'")
    return path


def recipe_settings(
    recipe: LoadedRecipe, words: Sequence[str], settings: Settings
) -> tuple[Settings, int, list[str]]:
    """Collect the recipe's parameters: command line over configuration file over defaults.

    Returns the settings, the position of the first set of frames among the words, and remarks for the user.
    """
    from muse_core.hosts.configfile import config_values

    spec = recipe.spec
    parsed = parse_options(words, spec.params)
    values: Settings = {}
    if settings["recipe-config"]:
        values = config_values(str(settings["recipe-config"]), spec.context, spec.params)
    else:
        default = own_file(f"{spec.name}.rc")
        if default is not None:
            values = config_values(default, spec.context, spec.params)
    return {**values, **parsed.values}, parsed.position, parsed.remarks


def _with_recipe(
    recipe: LoadedRecipe, words: list[str], settings: Settings, say: Messages, command_line: list[str]
) -> int:
    spec = recipe.spec
    words, own = split_misplaced(words, spec.params, spec.name, PROGRAM)
    settings.update(own)
    values, position, remarks = recipe_settings(recipe, words, settings)
    for remark in remarks:
        say.error(remark)
    if settings["create-config"] != "FALSE":
        from muse_core.hosts.configfile import recipe_config_text, write_config

        path = _config_path(str(settings["create-config"]), spec.name, say)
        write_config(path, recipe_config_text(path, spec, values, PROGRAM))
        return 0
    if settings["man-page"]:
        print(helptext.man_page(spec, PROGRAM, bool(settings["show-hidden"])))
        return 0
    if settings["help"]:
        print(helptext.recipe_help(spec, PROGRAM, bool(settings["show-hidden"])))
        return 0
    if settings["params"]:
        print(helptext.parameter_lines("Recipe Parameters", spec.params, values))
        return 0
    from muse_core.hosts.delivery import check_log_file

    output, link = _folder(settings, "output-dir"), None
    if not settings["suppress-link"]:
        link = _folder(settings, "link-dir").resolve()
    log_path = _folder(settings, "log-dir") / str(settings["log-file"])
    check_log_file(log_path, words[position:])
    with attached(LogFileHandler(log_path, str(settings["log-level"]), PROGRAM)):
        say.note(f"This is {PROGRAM}, version {__version__}")
        say.note(f"Invocation command line was: {PROGRAM} {' '.join(command_line)}")
        frames = _read_frames(words[position:], settings, say)
        if frames is None:
            return EXIT_MISSING
        return _run(recipe, frames, values, settings, say, output, link, words[position:])


def _folder(settings: Settings, name: str) -> Path:
    text = str(settings[name])
    folder = Path(text).expanduser()
    if not text or not folder.is_dir():
        raise UsageError(f"The argument to '--{name}' [{text}] is not a valid directory")
    return folder


def _read_frames(names: Sequence[str], settings: Settings, say: Messages) -> list[Frame] | None:
    from muse_core.framework.errors import InputError
    from muse_core.framework.sof import MissingFileError, check_files, load_sof

    frames: list[Frame] = []
    complete = True
    for name in names:
        if name.startswith("--"):
            say.error(f"'{name}' stands behind the set of frames; options go in front of it")
            complete = False
            continue
        try:
            found = load_sof(name)
            if settings["check-sof-exist"]:
                check_files(found)
            for frame in found:
                for variable in frame.unset:
                    say.warning(
                        f"{name}: the variable ${variable} is not set, taken for nothing ({frame.path})"
                    )
            frames += found
        except MissingFileError as error:
            say.error(str(error))
            say.error(f"Problem occurred loading frameset from the SOF file '{name}'.")
            complete = False
        except InputError as error:
            say.error(f"SOF file '{name}' cannot be read: {error}")
            complete = False
        except OSError as error:
            say.error(f"SOF file '{name}' cannot be read: {error.strerror or error}")
            complete = False
    return frames if complete else None


def _run(
    recipe: LoadedRecipe,
    frames: list[Frame],
    values: Settings,
    settings: Settings,
    say: Messages,
    output: Path,
    link: Path | None,
    sofs: Sequence[str],
) -> int:
    from muse_core.framework import RecipeError, run_recipe
    from muse_core.framework.workers import WorkerError
    from muse_core.hosts.delivery import (
        Delivery,
        checked_places,
        deliver,
        private_folder,
        remove_signatures,
        without_private_folder,
    )

    prefix = "" if settings["suppress-prefix"] else str(settings["output-prefix"])
    plan = Delivery(output, prefix, link, bool(settings["output-readonly"]))
    plan = checked_places(plan, str(settings["products-sof"]), sofs)
    if link is not None and plan.link_folder is None:
        say.warning(f"--link-dir is the output folder itself ({output}): no links are made")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _terminated)
    started = time.monotonic()
    try:
        with private_folder(output) as folder:
            products = run_recipe(
                recipe,
                frames,
                values,
                workdir=folder,
                show_progress=sys.stderr.isatty() and settings["msg-level"] != "off",
                report=bool(settings["report"]) or None,
                strict=bool(settings["strict"]),
                resume=None if settings["resume"] else False,
                plan_only=bool(settings["plan"]),
                deliver_to=output,
                product_prefix=prefix,
            )
            if settings["plan"]:
                return 0
            for product in products:
                if settings["no-checksum"] or settings["no-datamd5"]:
                    remove_signatures(
                        product.path,
                        checksum=bool(settings["no-checksum"]),
                        datamd5=bool(settings["no-datamd5"]),
                    )
            pages = [*folder.glob("*_report.html"), *folder.glob("*_run.json")]
            delivered = deliver(products, plan, say.info, say.warning, pages)
    except KeyboardInterrupt:
        say.error("interrupted; no product was delivered")
        return 130
    except UsageError:
        raise
    except WorkerError as error:
        say.error(without_private_folder(error.message))
        say.debug(error.traceback)
        say.error(f"Execution of recipe '{recipe.spec.name}' failed, status = -1")
        return error.exit_status
    except RecipeError as error:
        say.error(without_private_folder(str(error)))
        say.error(f"Execution of recipe '{recipe.spec.name}' failed, status = -1")
        return error.exit_status
    except Exception as error:
        say.unexpected(error)
        say.error(f"Execution of recipe '{recipe.spec.name}' failed, status = -1")
        return EXIT_DEFECT
    if settings["time"]:
        say.info(f"Recipe operation(s) took {time.monotonic() - started:14.3g} seconds to complete.")
    status = _write_products_sof(str(settings["products-sof"]), delivered, say)
    if status == 0 and not all(product.complete for product in products):
        say.warning(f"products are incomplete, see the warnings above; status = {EXIT_INCOMPLETE}")
        return EXIT_INCOMPLETE
    return status


def _write_products_sof(name: str, delivered: list[tuple[Path, str]], say: Messages) -> int:
    from muse_core.hosts.delivery import products_list

    if not name:
        return 0
    try:
        Path(name).write_text(products_list(delivered, name.endswith(".json")), encoding="utf-8")
    except OSError as error:
        say.error(f"Cannot create output sof file {name}: {error.strerror}")
        return EXIT_SOF
    return 0


def _passed_over(number: int, frame: FrameType | None) -> None:
    """Take a further signal without effect."""


def _terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """End with a clean-up that no second signal cuts short."""
    signal.signal(signal.SIGINT, _passed_over)
    signal.signal(signal.SIGTERM, _passed_over)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
