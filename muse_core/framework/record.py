# SPDX-License-Identifier: BSD-3-Clause
"""What a run was: inputs, parameters, warnings, times and products, for its quality page and for programs."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muse_core.version import __version__

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework.clock import Clock
    from muse_core.framework.frames import Frame, ProductFrame
    from muse_core.framework.spec import ParamValues

SUMS = ("DATAMD5", "CHECKSUM")
"""Keywords of an input that tell its contents, the first one that is there counts."""


@dataclass(frozen=True)
class FileRecord:
    """A file of a run.

    Parameters
    ----------
    name, tag : str
    group : str
        RAW or CALIB of an input, the level of a product
    size : int
        bytes; 0: not known
    checksum : str
        of its data, as its header tells it; empty if it does not
    """

    name: str
    tag: str
    group: str = ""
    size: int = 0
    checksum: str = ""


@dataclass
class RunRecord:
    """What a run was.

    Parameters
    ----------
    recipe : str
    version : str
        of this package, or what the header says of the program that made a product
    started : str
        UTC, ISO 8601
    compatible : bool
        the defects of the C recipe were wanted
    parameters, changed : dict of str
        all parameters, and those that differ from their defaults
    inputs, products : list of FileRecord
    warnings : list of str
    steps : dict of float
        seconds spent in the steps of the recipe
    wall_s, cpu_s, memory_mb : float
        of the whole run, without the worker processes that it may have; 0: not known
    quality : dict
        QC keywords of the products
    """

    recipe: str
    version: str = f"muse-recipes {__version__}"
    started: str = ""
    compatible: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    inputs: list[FileRecord] = field(default_factory=list)
    products: list[FileRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_mb: float = 0.0
    quality: dict[str, Any] = field(default_factory=dict)

    def json(self) -> str:
        """Return the record for programs."""
        return json.dumps(asdict(self), indent=1, sort_keys=False, ensure_ascii=False) + "\n"


def record_of_run(
    recipe: str,
    values: ParamValues,
    texts: dict[str, str],
    inputs: Iterable[Frame],
    products: Iterable[ProductFrame],
    names: Mapping[Path, str],
    clock: Clock,
    warnings: Iterable[str],
) -> RunRecord:
    """Put together what a run was.

    Parameters
    ----------
    texts : dict of str
        all parameters as text
    names : file names that the products will have, by the path that they have now
    """
    wall, cpu, memory = clock.cost()
    made = list(products)
    return RunRecord(
        recipe,
        started=datetime.datetime.fromtimestamp(clock.started, datetime.UTC).isoformat(timespec="seconds"),
        compatible=bool(values.defects()),
        parameters=texts,
        changed={name: text for name, text in texts.items() if not values.is_default(name)},
        inputs=[
            _file(frame.given or frame.path, frame.tag, frame.group or "", frame.path) for frame in inputs
        ],
        products=[_file(Path(names[frame.path]), frame.tag, frame.level, frame.path) for frame in made],
        warnings=list(warnings),
        steps={name: round(seconds, 3) for name, seconds in clock.steps.items()},
        wall_s=round(wall, 3),
        cpu_s=round(cpu, 3),
        memory_mb=round(memory, 1),
        quality=quality_of(frame.path for frame in made),
    )


def _file(named: Path, tag: str, group: str, path: Path) -> FileRecord:
    from muse_core.framework.errors import RecipeError
    from muse_core.framework.fits_file import read_header

    checksum = ""
    size = path.stat().st_size if path.is_file() else 0
    try:
        header = read_header(path)
        checksum = next((str(header[key]) for key in SUMS if key in header), "")
    except RecipeError:
        pass  # no FITS file: it has no such keywords
    return FileRecord(str(named), tag, group, size, checksum)


def quality_of(paths: Iterable[Path]) -> dict[str, Any]:
    """Return the QC keywords of products: by name, and by name and file where files differ."""
    from muse_core.framework.fits_file import read_header

    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        for key, value in _quality_cards(read_header(path)):
            found.setdefault(key, {})[path.name] = value
    quality: dict[str, Any] = {}
    for key, values in found.items():
        if len(set(map(repr, values.values()))) == 1:
            quality[key] = next(iter(values.values()))
        else:
            quality.update({f"{key} ({name})": value for name, value in values.items()})
    return quality


def _quality_cards(header: Header) -> Iterator[tuple[str, Any]]:
    from astropy.io.fits.card import Undefined

    for card in header.cards:
        if card.keyword.startswith("ESO QC "):
            value = card.value
            # a keyword without a value (what was not a number) is none for a program that reads the record
            yield card.keyword.removeprefix("ESO "), None if isinstance(value, Undefined) else value


def record_from_header(header: Header, products: Iterable[FileRecord]) -> RunRecord:
    """Return what the header of a product tells of the run that made it, be it ours or of the C pipeline."""
    numbers = [int(key.split()[2][3:]) for key in header if _is_recipe(key)]
    block = f"ESO PRO REC{max(numbers)}" if numbers else "ESO PRO REC1"
    parameters: dict[str, str] = {}
    number = 1
    while f"{block} PARAM{number} NAME" in header:
        name = str(header[f"{block} PARAM{number} NAME"])
        parameters[name] = str(header.get(f"{block} PARAM{number} VALUE", ""))
        number += 1
    inputs = [file for group in ("RAW", "CAL") for file in _listed(header, block, group)]
    return RunRecord(
        str(header.get(f"{block} ID", "unknown recipe")),
        version=str(header.get(f"{block} PIPE ID", header.get(f"{block} DRS ID", ""))),
        started=str(header.get("DATE", "")),
        compatible=parameters.get("compat", "").lower() == "true",
        parameters=parameters,
        inputs=inputs,
        products=list(products),
        quality=dict(_quality_cards(header)),
    )


def _is_recipe(key: str) -> bool:
    words = key.split()
    return len(words) == 4 and key.startswith("ESO PRO REC") and words[3] == "ID" and words[2][3:].isdigit()


def _listed(header: Header, block: str, group: str) -> Iterator[FileRecord]:
    number = 1
    while f"{block} {group}{number} NAME" in header:
        head = f"{block} {group}{number}"
        yield FileRecord(
            str(header[f"{head} NAME"]),
            str(header.get(f"{head} CATG", "")),
            "RAW" if group == "RAW" else "CALIB",
            0,
            str(header.get(f"{head} DATAMD5", "")),
        )
        number += 1
