# SPDX-License-Identifier: BSD-3-Clause
"""Which folders are searched for calibrations, in which order."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path

from muse_core.calib.candidates import Library
from muse_core.calib.rules import Rules
from muse_core.calib.scan import scan
from muse_core.calib.store import NAME, Index, index_file, open_for_reading, shown
from muse_core.framework.errors import InputError
from muse_core.framework.places import (
    chosen_calibration_folders,
    pipeline_calibration_folders,
    shipped_folder,
)


def search_order(given: Iterable[Path], data: Iterable[Path] = (), *, simulated: bool = False) -> list[Path]:
    """Return the folders to search: given (else the tree of the data), MUSE_CALIB_DB, C's, mpdaf's, ours.

    Parameters
    ----------
    given : folders named by the user
    data : files that are to be calibrated; without folders given, the indexed trees they lie in are searched
    simulated : also search the calibrations of the simulated instrument
    """
    folders = list(given) or [tree_of(Path(path)) for path in data]
    folders += chosen_calibration_folders()
    folders += pipeline_calibration_folders()[:1]
    folders += [folder for folder in [packaged_filters()] if folder]
    folders.append(shipped_folder("calib_db") / "static")
    if simulated:
        folders.append(shipped_folder("calib_db") / "simulated")
    unique: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                shown(folder),
                "folder of calibrations",
                expected="an existing folder",
                found="none",
                remedy="Check --calib and MUSE_CALIB_DB.",
            )
        unique[folder.resolve()] = None
    return list(unique)


def add_simulated(library: Library, rules: Rules) -> None:
    """Search the calibrations of the simulated instrument, too (for data of the simulator)."""
    folder = (shipped_folder("calib_db") / "simulated").resolve()
    if all(index.root != folder for index in library.indexes):
        library.indexes.append(scan(folder, rules, in_memory=True)[0])


def packaged_filters() -> Path | None:
    """Return the folder of measured filter curves that an installed mpdaf (BSD licence) brings, or None.

    Its filter_list.fits is a FILTER_LIST with curves and zero points of the GALEV team, used where it lies.
    """
    found = importlib.util.find_spec("mpdaf")
    for place in (found.submodule_search_locations or []) if found else []:
        folder = Path(place) / "obj" / "filters"
        if (folder / "filter_list.fits").is_file():
            return folder
    return None


def tree_of(path: Path) -> Path:
    """Return the tree a data file belongs to: the nearest folder above it with an index, else its folder.

    Raises
    ------
    InputError
        if there is neither file nor folder of that name: what is above a mistyped name is not to be indexed
    """
    if not path.exists():
        raise InputError(
            shown(path), "file", expected="an existing file or folder", found="none", remedy="Check its name."
        )
    folder = path.absolute().parent if not path.is_dir() else path.absolute()
    for parent in (folder, *folder.parents):
        if (parent / NAME).is_file():
            return parent
    return folder


def open_library(
    folders: Iterable[Path],
    rules: Rules,
    *,
    refresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Library:
    """Open the indexes of folders; a folder without one is indexed first (ours in memory).

    Parameters
    ----------
    refresh : look for new and changed files in the folders that have an index
    """
    own = [shipped_folder("calib_db").resolve(), *(f.resolve() for f in [packaged_filters()] if f)]
    indexes: list[Index] = []
    for folder in folders:
        if any(folder.is_relative_to(place) for place in own):
            indexes.append(scan(folder, rules, in_memory=True)[0])
            continue
        index = None if refresh else open_for_reading(folder)
        if index is None:
            if not refresh:
                say(f"{shown(folder)}: no index yet, made as {shown(index_file(folder, for_writing=True))}")
            index, report = scan(folder, rules, say=say)
            for path, reason in report.bad:
                say(f"{shown(path)}: {reason}")
        indexes.append(index)
    return Library(indexes, rules)
