# SPDX-License-Identifier: BSD-3-Clause
"""Links to the recipes of the C pipeline, so that one folder holds every recipe once.

A host that is given our folder and that of the C pipeline finds some recipes twice; esorex takes that for an
error and says so at each start.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from muse_core.framework.errors import RecipeError

# where packages of the C pipeline put its libraries, seen from the prefix: Debian, ESO's kit, others
PLACES = (
    "lib/*/cpl/plugins/muse-*",
    "lib*/cpl/plugins/muse-*",
    "lib*/esopipes-plugins/muse-*",
    "lib*/esopipes/muse-*",
)
PREFIXES = ("/usr", "/usr/local", "/opt/local", "/opt/homebrew")


def _version(library: Path) -> tuple[int, ...]:
    """Return the numbers in the name of the folder, ``muse-2.8.7``."""
    return tuple(int(number) for number in re.findall(r"\d+", library.parent.name))


def find_c_folder() -> Path:
    """Return the folder with the recipe libraries of the installed C pipeline, of the newest if several are.

    Raises
    ------
    RecipeError
        when there is none in the usual places
    """
    esorex = shutil.which("esorex")
    prefixes = [Path(esorex).resolve().parents[1]] if esorex else []
    prefixes += [Path(name) for name in PREFIXES]
    found = [
        library
        for prefix in dict.fromkeys(prefixes)
        for place in PLACES
        for library in prefix.glob(f"{place}/muse_*.so")
    ]
    if not found:
        raise RecipeError(
            "the C pipeline is in none of the usual places; name the folder of its recipe libraries "
            "(muse_bias.so and so on): --with-c FOLDER"
        )
    return max(found, key=_version).parent


def c_libraries(source: Path, target: Path) -> dict[str, Path]:
    """Return the recipe libraries in and below a folder by name, of the newest version if there are several.

    Parameters
    ----------
    source : folder of the C pipeline
    target : our folder; what lies in it does not count, nor do libraries of ours elsewhere

    Raises
    ------
    RecipeError
        when there are none
    """
    ours = target.resolve()
    found = [
        library.absolute()
        for library in sorted(source.rglob("*.so"))
        if not library.resolve().is_relative_to(ours)
        and not library.absolute().is_relative_to(ours)
        and not library.with_suffix(".meta").exists()
    ]
    if not found:
        raise RecipeError(
            f"{source}: expected recipe libraries of the C pipeline (muse_bias.so and so on), found none. "
            "Name the folder that holds them: --with-c FOLDER"
        )
    return {library.stem: library for library in sorted(found, key=_version)}


def link_c_recipes(target: Path, libraries: Mapping[str, Path], *, ours: Collection[str]) -> list[Path]:
    """Make links in our folder to the C recipes that we do not have; returns them.

    Links of an earlier call to libraries that are gone vanish.

    Parameters
    ----------
    target : our folder
    libraries : file of each C recipe
    ours : names of the recipes of ours in the folder
    """
    for old in target.glob("*.so"):
        if old.is_symlink() and not old.exists():
            old.unlink()
    made = []
    for name, library in sorted(libraries.items()):
        if name in ours:
            continue
        link = target / f"{name}.so"
        fresh = target / f".{name}.so.part"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(library)
        fresh.replace(link)
        made.append(link)
    return made
