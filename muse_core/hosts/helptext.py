# SPDX-License-Identifier: BSD-3-Clause
"""Help, man page and parameter lists in esorex's layout, all from the recipe's declaration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muse_core.framework.settings import MEANINGS
from muse_core.framework.spec import Input, Param, RecipeSpec
from muse_core.hosts.values import OptionLike, Value, display
from muse_core.version import __version__

LINE = 80
COLUMN = 26
TABLE_WIDTH = 77  # esorex indents the tables by two
OWN_TITLE = "Options that the C recipe does not have"

_LICENSE = """Copyright (c) the muse-recipes developers

Redistribution and use in source and binary forms, with or without
modification, are permitted under the terms of the BSD 3-Clause License;
see the file LICENSE of the muse-recipes distribution. There is no warranty."""


def wrap(text: str, indent: int, width: int = LINE, start: int | None = None) -> str:
    r"""Break text at blanks so that lines stay below `width`; the first starts at column `start`.

    >>> wrap("one two three", 2, 10)
    'one two\n  three'
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        rest = paragraph
        room = width - (indent if start is None or lines else start) - 1
        while len(rest) > room:
            cut = rest.rfind(" ", 0, room + 1)
            if cut <= 0:
                cut = rest.find(" ", room)
                if cut < 0:
                    break
            lines.append(rest[:cut].rstrip())
            rest = rest[cut:].lstrip()
            room = width - indent - 1
        lines.append(rest)
    return ("\n" + " " * indent).join(lines)


def _labelled(label: str, text: str) -> str:
    head = f"  {label:<22}: " if len(label) <= 22 else f"  {label}  : "
    column = max(COLUMN, len(head))
    return head + wrap(text, column, start=column - 1)  # esorex fills all columns of the first line


def sentence(option: OptionLike) -> str:
    """Return the help text with a full stop and the choices."""
    text = option.help.rstrip()
    if text and not text.endswith("."):
        text += "."
    if option.choices:
        text += f" <{' | '.join(option.choices)}>"
    return text


def option_lines(options: Iterable[OptionLike], show_hidden: bool = False) -> str:
    """Return the list of options as ``--help`` shows it."""
    return "\n".join(
        _labelled(f"--{option.name}", f"{sentence(option)} [{display(option.default)}]")
        for option in options
        if show_hidden or not option.hidden
    )


def parameter_lines(title: str, options: Iterable[OptionLike], values: Mapping[str, Value]) -> str:
    """Return the list of current values as ``--params`` shows it (hidden ones included)."""
    body = "\n".join(f"  {o.name:<22}: {display(values.get(o.name, o.default))}" for o in options)
    return f"{title} :\n\n{body}\n"


def recipe_list(recipes: Iterable[RecipeSpec]) -> str:
    """Return what ``--recipes`` shows."""
    return "List of Available Recipes :\n\n" + "\n".join(_labelled(r.name, r.summary) for r in recipes) + "\n"


def recipe_help(spec: RecipeSpec, program: str, show_hidden: bool = False) -> str:
    """Return what ``--help recipe`` shows."""
    own = option_lines(own_options(spec), show_hidden)
    return (
        f"Recipe: {wrap(f'{spec.name} -- {spec.summary}', 2, start=7)}\n\n"
        f"{wrap(f'Usage: {_synopsis(spec, program)}', 4)}\n\nOptions:\n\n"
        f"{option_lines(c_options(spec), show_hidden)}\n\n"
        + (f"{OWN_TITLE}:\n\n{own}\n\n" if own else "")
        + f"For help on the options of {program} itself, please use '{program} --help' without a\n"
        f"recipe name. More about the recipe: '{program} --man-page {spec.name}'.\n"
    )


def _synopsis(spec: RecipeSpec, program: str) -> str:
    return f"{program} [{program}-options] {spec.name} [{spec.name}-options] sof"


def c_options(spec: RecipeSpec) -> list[Param]:
    """Return the parameters of the C recipe, or all of a recipe that the C pipeline does not have."""
    return [param for param in spec.params if not param.ours]


def own_options(spec: RecipeSpec) -> list[Param]:
    """Return the parameters that the C recipe does not have."""
    return [param for param in spec.params if param.ours]


def raw_inputs(spec: RecipeSpec) -> list[Input]:
    """Return the raw tags, the leading one first."""
    return [declared for declared in spec.inputs if declared.group == "RAW"]


def frame_tables(spec: RecipeSpec) -> str:
    """Return the tables of input and product frames that end the description."""
    raw = raw_inputs(spec)
    if not raw:
        return ""
    title = f'for raw frame tag "{raw[0].tag}":'
    lines = [f"Input frames {title}", ""]
    lines += [
        " Frame tag            Type Req #Fr Description",
        " -------------------- ---- --- --- ------------",
    ]
    for declared in spec.inputs:
        kind = "raw" if declared.group == "RAW" else "calib"
        needed = "Y" if declared.host_min > 0 else "."
        head = f" {declared.tag:<20} {kind:<5} {needed} {_count(declared):>4} "
        lines.append(head + wrap(declared.help, 35, TABLE_WIDTH, start=len(head)))
    lines += ["", f"Product frames {title}", ""]
    lines += [" Frame tag            Level    Description", " -------------------- -------- ------------"]
    for product in spec.products:
        level = {"INTERMEDIATE": "intermed"}.get(product.level.upper(), product.level.lower())
        head = f" {product.tag:<20} {level:<8} "
        lines.append(head + wrap(product.help, 31, TABLE_WIDTH, start=len(head)))
    return "\n".join(line.rstrip() for line in lines)


def _count(declared: Input) -> str:
    if declared.host_max > 0:
        return str(declared.host_max)
    return f">={declared.host_min}" if declared.host_min > 1 else ""


def reflow(text: str, width: int) -> str:
    r"""Break the paragraphs of a text anew; lines that begin with a blank stay as they are.

    >>> reflow("one\ntwo three\n\n  kept", 80)
    'one two three\n\n  kept'
    """
    paragraphs = []
    for paragraph in text.strip("\n").split("\n\n"):
        if paragraph.startswith(" "):
            paragraphs.append(paragraph)
        else:
            paragraphs.append(wrap(" ".join(paragraph.split()), 0, width))
    return "\n\n".join(paragraphs)


def _entries(title: str, entries: Iterable[tuple[str, str]], width: int) -> list[str]:
    lines = [f"  {name}\n      {wrap(text, 6, width)}" for name, text in entries]
    return [f"{title}:\n\n" + "\n".join(lines)] if lines else []


def manual(spec: RecipeSpec, width: int) -> str:
    """Return all that is to be said of a recipe but for the list of options and the tables of frames."""
    inputs = [(declared.tag, _input_text(spec, declared)) for declared in spec.inputs]
    parts = [reflow(spec.description, width), *_entries("What each input is for", inputs, width)]
    for name, meanings in spec.manual.values.items():
        parts += _entries(f"Values of {name}", meanings, width)
    variables = [
        (param.variable.name, f"Sets the parameter {param.name}, where it is not given. {param.help}")
        for param in spec.params
        if param.variable is not None
    ]
    parts += _entries("Environment", [*MEANINGS, *spec.manual.environment, *variables], width)
    return "\n\n".join(parts)


def _input_text(spec: RecipeSpec, declared: Input) -> str:
    text = declared.help.rstrip(".") + "."
    more = spec.manual.inputs.get(declared.tag)
    if more:
        text += f" {more}"
    elif declared.host_min > 0:
        text += " Required."
    return text


def full_description(spec: RecipeSpec, width: int = 78) -> str:
    """Return the manual and the frame tables."""
    text = manual(spec, width)
    return f"{text}\n\n{frame_tables(spec)}" if frame_tables(spec) else text


def license_text() -> str:
    """Return the copyright text that hosts show."""
    return _LICENSE


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def man_page(spec: RecipeSpec, program: str, show_hidden: bool = False) -> str:
    """Return what ``--man-page recipe`` shows."""
    own = option_lines(own_options(spec), show_hidden)
    sections = {
        "NAME": "  " + wrap(f"{spec.name} -- {spec.summary}", len(spec.name) + 6, LINE - 1, start=2),
        "SYNOPSIS": "  " + wrap(_synopsis(spec, program), 6, start=2),
        "DESCRIPTION": _indented(full_description(spec, LINE - 2)),
        "OPTIONS": (
            "  The following options are provided by this recipe.\n\n"
            + option_lines(c_options(spec), show_hidden)
            + "\n\n  A configuration file with these options and their defaults can be made with\n  "
            + wrap(f"'{program} --create-config={spec.name}.rc {spec.name}'.", 6, start=2)
        ),
        OWN_TITLE.upper(): own,
        "AUTHOR": f"  {spec.author}",
        "BUGS": f"  Please report any problems with this recipe to {spec.email}",
        "RELEASE": f"  {spec.name} -- version {spec.version_text}, muse-recipes {__version__}",
        "LICENSE": _indented(license_text()),
    }
    return "\n".join(f"\n{title}\n{body}" for title, body in sections.items() if body) + "\n"
