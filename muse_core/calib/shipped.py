# SPDX-License-Identifier: BSD-3-Clause
"""Static calibrations for Python code: of MUSE_CALIB_DB, of an installed C pipeline, of the project."""

from __future__ import annotations

from pathlib import Path

from muse_core.framework.errors import RecipeError
from muse_core.framework.places import shipped_folder

SCIPOST_STATIC = ("EXTINCT_TABLE", "FILTER_LIST", "SKY_LINES", "RAMAN_LINES")
SCIPOST_OWN = ("STD_RESPONSE", "STD_TELLURIC", "ASTROMETRY_WCS", "LSF_PROFILE")


class CalibrationNotFoundError(RecipeError):
    """There is no calibration of this kind in the folders searched."""


def calibration_folder() -> Path:
    """Folder of the calibrations that come with the project."""
    return shipped_folder("calib_db")


def find_calibration(tag: str, mode: str = "WFM-NOAO-N", *, simulated: bool = False) -> Path:
    """Return the file of a frame tag for a mode.

    Parameters
    ----------
    tag : frame tag, for example EXTINCT_TABLE
    mode : instrument mode (ESO INS MODE)
    simulated : also search the calibrations of the simulated instrument, which fit no real observation

    Raises
    ------
    CalibrationNotFoundError
        where no folder has one that fits

    Examples
    --------
    >>> find_calibration("EXTINCT_TABLE").suffix
    '.fits'
    """
    from muse_core.calib.choose import choose
    from muse_core.calib.judging import Options
    from muse_core.calib.places import open_library, search_order
    from muse_core.calib.rules import load_rules
    from muse_core.calib.targets import Target

    parts = [*mode.split("-"), "", ""]
    target = Target(
        "", "OBJECT", (), None, mode=mode, field=parts[0], ao=parts[1], range=parts[2], simulated=simulated
    )
    rules = load_rules()
    folders = search_order([], simulated=simulated)
    library = open_library(folders, rules)
    try:
        found = choose(tag, target, library, rules, Options()).candidate
        if found is None:
            tags = [index.db.execute("SELECT DISTINCT tag FROM sets").fetchall() for index in library.indexes]
            known = {row["tag"] for rows in tags for row in rows}
            raise CalibrationNotFoundError(
                f"no {tag} for {mode} in {', '.join(str(folder) for folder in folders)} (MUSE_CALIB_DB, "
                f"the C pipeline's, ours); there are: {', '.join(sorted(known)) or 'no files at all'}"
            )
        return Path(found.path)
    finally:
        library.close()


def scipost_calibrations(mode: str = "WFM-NOAO-N", *, simulated: bool = False) -> list[tuple[Path, str]]:
    """Return all (file, tag) that muse_scipost can use in a mode."""
    tags = [*SCIPOST_STATIC, *(SCIPOST_OWN if simulated else ())]
    return [
        (find_calibration(tag, mode, simulated=simulated), tag)
        for tag in tags
        if tag != "RAMAN_LINES" or "-AO-" in mode
    ]
