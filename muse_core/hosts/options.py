# SPDX-License-Identifier: BSD-3-Clause
"""Options of the ``muserun`` command, and esorex's rules for reading ``--name=value``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from muse_core.framework.errors import ParameterError, did_you_mean
from muse_core.framework.spec import Param
from muse_core.hosts.values import OptionLike, Value

LEVELS = ("debug", "info", "warning", "error", "off")


class UsageError(Exception):
    """A bad option, value, configuration file or folder: exit status 255."""


@dataclass(frozen=True)
class RunnerOption:
    """One option of the command itself."""

    name: str
    default: Value
    help: str
    choices: tuple[str, ...] | None = None
    hidden: bool = False
    configurable: bool = True

    @property
    def variable(self) -> str:
        """The environment variable that sets this option."""
        return (
            "ESOREX_PLUGIN_DIR"
            if self.name == "recipe-dir"
            else "ESOREX_" + self.name.upper().replace("-", "_")
        )


def runner_options() -> tuple[RunnerOption, ...]:
    """Return the command's own options in the order of its help text."""
    return (
        RunnerOption(
            "help", False, "Show this help, or that of the recipe named, and end.", configurable=False
        ),
        RunnerOption("version", False, "Show the version and end.", configurable=False),
        RunnerOption(
            "check-sof-exist",
            True,
            "Check that all files of the set of frames exist before the recipe starts.",
        ),
        RunnerOption("config", "", "Configuration file for these options.", configurable=False),
        RunnerOption(
            "create-config",
            "FALSE",
            "Write a configuration file, of the recipe if one is named. TRUE stands for a file in the folder"
            " '.esorex' of your home folder. An existing file is kept as '.bak'. A name ending in .json"
            " gives machine-readable JSON.",
            configurable=False,
        ),
        RunnerOption("link-dir", "/tmp", "Folder for symbolic links to the products."),  # noqa: S108  esorex's default
        RunnerOption("log-dir", ".", "Folder of the log file."),
        RunnerOption("log-file", "esorex.log", "Name of the log file."),
        RunnerOption("log-level", "info", "Least severe messages that go to the log file.", choices=LEVELS),
        RunnerOption("no-datamd5", False, "Leave DATAMD5 out of the products."),
        RunnerOption("no-checksum", False, "Leave CHECKSUM and DATASUM out of the products."),
        RunnerOption("man-page", False, "Show the manual page of the recipe and end.", configurable=False),
        RunnerOption("mem-check", False, "Accepted for esorex's sake, without effect."),
        RunnerOption("msg-level", "info", "Least severe messages that go to the terminal.", choices=LEVELS),
        RunnerOption("output-dir", ".", "Folder, which must exist, where the products are put."),
        RunnerOption("output-prefix", "out", "Prefix of numbered product names; see suppress-prefix."),
        RunnerOption("output-readonly", False, "Make the delivered products read-only."),
        RunnerOption("paf-config", "", "Accepted for esorex's sake, without effect."),
        RunnerOption(
            "params",
            False,
            "List the options and the recipe's parameters with their values.",
            configurable=False,
        ),
        RunnerOption(
            "plan",
            False,
            "Tell what the recipe would do, read and write, the memory and time that would take, and end.",
            configurable=False,
        ),
        RunnerOption("products-sof", "", "Write a set of frames of the products (JSON if the name ends so)."),
        RunnerOption("recipes", False, "List the recipes and end.", configurable=False),
        RunnerOption("recipe-config", "", "Configuration file for the recipe's parameters."),
        RunnerOption(
            "recipe-dir", "", "Folders, with colons between, searched for recipe files before our own."
        ),
        RunnerOption("report", False, "Write a quality page beside the products."),
        RunnerOption(
            "resume",
            True,
            "Keep results in the folder .muse-resume of the output folder while the recipe runs: if it is"
            " killed, the next call with the same inputs and parameters goes on from there.",
        ),
        RunnerOption("show-hidden", False, "Show hidden parameters in help texts."),
        RunnerOption(
            "strict",
            False,
            "End with an error where an input is missing or not used and part of the work would be left out"
            " with a warning.",
        ),
        RunnerOption("suppress-link", True, "Make no symbolic links to the products."),
        RunnerOption("suppress-prefix", True, "Keep the product names that the recipe gives."),
        RunnerOption("time", True, "Show how long the recipe took."),
        RunnerOption("unload-plugin", True, "Accepted for esorex's sake, without effect."),
    )


AFTER_THE_RECIPE = ("help", "man-page", "params", "show-hidden")
"""Options of the command that are understood behind the recipe's name, too."""

IGNORED = ("mem-check", "paf-config", "unload-plugin")


def find_option(name: str, options: Sequence[OptionLike]) -> OptionLike:
    """Find an option by its name or an unambiguous abbreviation of it."""
    matches = [option for option in options if option.name.startswith(name)] if name else []
    for option in matches:
        if option.name == name:
            return option
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"option '--{name}' may mean any of {', '.join('--' + m.name for m in matches)}")
    hint = did_you_mean(name, [option.name for option in options], "--")
    raise UsageError(f"Command line parameter '--{name}' not recognized{hint}")


def split_misplaced(
    words: Sequence[str], params: Sequence[OptionLike], recipe: str, program: str
) -> tuple[list[str], dict[str, Value]]:
    """Take options of the command out of the words behind a recipe's name.

    Returns the other words, and the options that are understood there.

    Raises
    ------
    UsageError
        for an option that belongs in front of the recipe's name
    """
    own = {option.name: option for option in runner_options()}
    kept: list[str] = []
    found: dict[str, Value] = {}
    in_front = True
    for word in words:
        in_front = in_front and word.startswith("--")
        name, equals, text = word[2:].partition("=")
        if not in_front or name not in own or any(param.name.startswith(name) for param in params):
            kept.append(word)
        elif name in AFTER_THE_RECIPE:
            found[name] = convert(own[name], text) if equals else True
        else:
            raise UsageError(
                f"'--{name}' is an option of {program} itself and belongs in front of the recipe's name: "
                f"{program} {word} {recipe} ..."
            )
    return kept, found


def convert(option: OptionLike, text: str) -> Value:
    """Return a value given as text, checked against type and choices."""
    param = (
        option if isinstance(option, Param) else Param(option.name, option.default, choices=option.choices)
    )
    try:
        return param.coerce(text)
    except ParameterError as error:
        raise UsageError(f"option '--{option.name}': {str(error).split(': ', 1)[-1]}") from None


@dataclass
class ParsedOptions:
    """Options found in front of the first other word, that word's position, and remarks for the user."""

    values: dict[str, Value]
    position: int
    remarks: list[str]


def parse_options(words: Sequence[str], options: Sequence[OptionLike]) -> ParsedOptions:
    """Read ``--name=value`` words up to the first word that is no option.

    A bare ``--name`` is TRUE for a boolean; others are remarked on and ignored, as in esorex.
    """
    parsed = ParsedOptions({}, 0, [])
    for word in words:
        if not word.startswith("--"):
            break
        parsed.position += 1
        name, equals, text = word[2:].partition("=")
        option = find_option(name, options)
        if not equals:
            if isinstance(option.default, bool) or option.name == "create-config":
                parsed.values[option.name] = True if isinstance(option.default, bool) else "TRUE"
            else:
                parsed.remarks.append(f"'--{option.name}' needs '=value'; left at what it was")
        elif text == "" and not isinstance(option.default, str):
            raise UsageError(f"'--{option.name}=' needs a value after the equals sign")
        else:
            parsed.values[option.name] = convert(option, text)
    return parsed


def environment_values(
    options: Iterable[RunnerOption], environment: Mapping[str, str] | None = None
) -> dict[str, Value]:
    """Return the options set through ESOREX_... variables."""
    source = os.environ if environment is None else environment
    return {
        option.name: convert(option, source[option.variable])
        for option in options
        if source.get(option.variable)
    }
