# SPDX-License-Identifier: BSD-3-Clause
"""What the header of a product tells of its making, in the manner of python-cpl's ``cpl.dfs``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

from muse_core.framework.errors import RecipeError


class ProcessingInfo:
    """Recipe, parameters and input files of a product.

    Parameters
    ----------
    source : file name, HDU list, HDU or header
    recno : number of the processing record, from 1; -1 takes the last one

    Attributes
    ----------
    name, version, pipeline, cpl_version : of the recipe and of what ran it (version as number and text)
    tag, raw : tag and file(s) of the raw frames
    calib : tag -> file, or files
    param : name -> value
    md5sum : DATAMD5 of the product
    md5sums : file -> DATAMD5, of the calibration frames that have one
    """

    def __init__(self, source: Any, recno: int = -1) -> None:
        header = _header(source)
        numbers = _records(header)
        number = (max(numbers) if numbers else 1) if recno == -1 else recno
        if number not in numbers:
            raise RecipeError(f"the header has no processing record {number} (ESO PRO REC{number} ID)")
        head = f"ESO PRO REC{number} "
        self.name = str(header[head + "ID"])
        pipeline, _, text = str(header.get(head + "PIPE ID", "")).partition("/")
        self.pipeline = pipeline or None
        self.version = _version(text)
        self.cpl_version = header.get(head + "DRS ID")
        self.orig_filename = header.get("PIPEFILE")
        self.md5sum = header.get("DATAMD5")
        self.md5sums: dict[str, str] = {}
        self.tag: str | None = None
        self.raw = None
        self.calib: dict[str, Any] = {}
        raw = self._frames(header, head + "RAW")
        if raw:
            self.tag = next(iter(raw))
            self.raw = raw[self.tag] if len(raw) == 1 else raw
        self.calib = self._frames(header, head + "CAL")
        self.param = {
            str(header[f"{head}PARAM{i} NAME"]): _value(
                header.get(f"{head}PARAM{i} VALUE"), header.comments[f"{head}PARAM{i} VALUE"]
            )
            for i in _counted(header, head + "PARAM{} NAME")
        }

    def _frames(self, header: Any, head: str) -> dict[str, Any]:
        found: dict[str, list[str]] = {}
        for i in _counted(header, head + "{} NAME"):
            name = str(header[f"{head}{i} NAME"])
            found.setdefault(str(header.get(f"{head}{i} CATG")), []).append(name)
            if f"{head}{i} DATAMD5" in header:
                self.md5sums[name] = str(header[f"{head}{i} DATAMD5"])
        return {tag: names[0] if len(names) == 1 else names for tag, names in found.items()}

    @staticmethod
    def list(source: Any) -> list[ProcessingInfo]:
        """Return the records of a product in the order of processing."""
        header = _header(source)
        return [ProcessingInfo(header, number) for number in sorted(_records(header))]

    def create_recipe(self) -> Any:
        """Return the recipe with these parameters, calibration frames and tag."""
        from muse_core.cpl.recipe import Recipe

        recipe = Recipe(self.name)
        recipe.param = self.param
        recipe.calib.replace(self.calib, check=False)
        recipe.tag = self.tag
        return recipe

    def create_script(self, scriptfile: str | Path | TextIO | None = None) -> None:
        """Write a script that runs the recipe again (to standard output if no file is given)."""
        lines = [
            "from muse_core import Recipe",
            "",
            f"recipe = Recipe({self.name!r})",
            *(f"recipe.param[{name!r}] = {value!r}" for name, value in self.param.items()),
            *(f"recipe.calib[{tag!r}] = {files!r}" for tag, files in self.calib.items()),
            *([f"recipe.tag = {self.tag!r}"] if self.tag else []),
            f"result = recipe({self.raw!r})",
        ]
        text = "\n".join(lines) + "\n"
        if isinstance(scriptfile, str | Path):
            Path(scriptfile).write_text(text, encoding="utf-8")
        else:
            (scriptfile or sys.stdout).write(text)

    def printinfo(self) -> None:
        """Print the record."""
        sys.stdout.write(f"{self}\n")

    def __str__(self) -> str:
        pairs = [
            ("Recipe", f"{self.name} {self.version[1]}, {self.pipeline}, {self.cpl_version}"),
            ("Raw frames", f"{self.tag}: {self.raw}"),
            ("Calibration frames", self.calib),
            ("Parameters", self.param),
            ("DATAMD5", self.md5sum),
        ]
        return "\n".join(f"{name}: {value}" for name, value in pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProcessingInfo) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def _header(source: Any) -> Any:
    from astropy.io import fits

    from muse_core.framework.fits_file import read_header

    if isinstance(source, str | Path):
        return read_header(Path(source))
    if isinstance(source, fits.Header):
        return source
    return source[0].header if isinstance(source, list) else source.header


def _records(header: Any) -> set[int]:
    import re

    return {int(m.group(1)) for key in header if (m := re.fullmatch(r"ESO PRO REC(\d+) ID", key))}


def _counted(header: Any, form: str) -> list[int]:
    count = 0
    while form.format(count + 1) in header:
        count += 1
    return list(range(1, count + 1))


def _version(text: str) -> tuple[int, str] | tuple[None, str]:
    """Return a version as number (20807) and text (2.8.7).

    >>> _version("2.8.7"), _version("next")
    ((20807, '2.8.7'), (None, 'next'))
    """
    parts = text.split(".")
    if not text or not all(part.isdigit() for part in parts):
        return None, text
    number = 0
    for part in (*parts, "0", "0")[:3]:
        number = 100 * number + int(part)
    return number, text


def _value(text: Any, comment: str) -> Any:
    """Return a parameter's value in its type, for which the header has the default in the comment."""
    if not isinstance(text, str) or comment.startswith("Default: '"):
        return text
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
