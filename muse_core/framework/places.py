# SPDX-License-Identifier: BSD-3-Clause
"""Folders that the environment names; asked for here only, once at the start of a command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def shipped_folder(name: str) -> Path:
    """Return a data folder of the project (recipes, calib_db, sof_examples), installed or in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_shipped" / name
    return installed if installed.is_dir() else package.parent / name


def cache_folder() -> Path:
    """Return the folder for files that can be made again: XDG_CACHE_HOME/muse-recipes, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "muse-recipes"


def chosen_calibration_folders() -> list[Path]:
    """Return the folders that MUSE_CALIB_DB names (several with colons), in order."""
    return [Path(part).expanduser() for part in os.environ.get("MUSE_CALIB_DB", "").split(os.pathsep) if part]


def pipeline_calibration_folders() -> list[Path]:
    """Return the folders in which an installed C pipeline keeps its static calibrations, newest first.

    Two layouts are in use: ``<prefix>/share/esopipes/datastatic/muse-<version>`` and ESO's kit with
    ``<prefix>/calib/muse-<version>/cal``; the prefix is that of esorex, or a usual one.
    """
    esorex = shutil.which("esorex")
    prefixes = [Path(esorex).resolve().parents[1]] if esorex else []
    prefixes += [Path(name) for name in ("/usr", "/usr/local", "/opt/local", "/opt/homebrew")]
    found: list[Path] = []
    for prefix in dict.fromkeys(prefixes):
        for pattern in ("share/esopipes/datastatic/muse-*", "calib/muse-*/cal", "share/esopipes/muse-*/cal"):
            found += [path for path in prefix.glob(pattern) if path.is_dir()]
    return sorted(dict.fromkeys(found), key=lambda path: (_version(path), str(path)), reverse=True)


def _version(path: Path) -> tuple[int, ...]:
    name = path.parent.name if path.name == "cal" else path.name
    return tuple(
        int(part) for part in name.removeprefix("muse-").replace("-", ".").split(".") if part.isdigit()
    )
