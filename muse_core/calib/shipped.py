# SPDX-License-Identifier: BSD-3-Clause
"""Finding the calibrations that come with the project (folder `calib_db`)."""

from __future__ import annotations

import os
from pathlib import Path

from muse_core.framework.errors import RecipeError
from muse_core.framework.registry import shipped_folder

# tag -> file; {field} is wfm or nfm
STATIC = {
    "EXTINCT_TABLE": "static/extinct_table.fits",
    "FILTER_LIST": "static/filter_list.fits",
    "SKY_LINES": "static/sky_lines.fits",
    "RAMAN_LINES": "static/raman_lines.fits",
}
SIMULATED = {
    "STD_RESPONSE": "simulated/std_response.fits",
    "STD_TELLURIC": "simulated/std_telluric.fits",
    "ASTROMETRY_WCS": "simulated/astrometry_wcs_{field}.fits",
    "LSF_PROFILE": "simulated/lsf_profile.fits",
}


class CalibrationNotFoundError(RecipeError):
    """There is no calibration of this kind in the folder."""


def calibration_folder() -> Path:
    """Folder of the calibrations: MUSE_CALIB_DB of the environment, else the one of the project."""
    chosen = os.environ.get("MUSE_CALIB_DB")
    return Path(chosen) if chosen else shipped_folder("calib_db")


def find_calibration(tag: str, mode: str = "WFM-NOAO-N", *, simulated: bool = False) -> Path:
    """Return the file of a frame tag.

    Parameters
    ----------
    tag : frame tag, for example EXTINCT_TABLE
    mode : instrument mode (ESO INS MODE)
    simulated : also search the calibrations of the simulated instrument, which fit no real observation

    Examples
    --------
    >>> find_calibration("EXTINCT_TABLE").name
    'extinct_table.fits'
    """
    known = STATIC | SIMULATED if simulated else STATIC
    if tag not in known:
        raise CalibrationNotFoundError(
            f"no {tag} comes with the project; there are: {', '.join(sorted(known))}"
        )
    path = calibration_folder() / known[tag].format(field="nfm" if mode.startswith("NFM") else "wfm")
    if not path.is_file():
        raise CalibrationNotFoundError(
            f"{path}: the {tag} of the calibration folder is missing; is MUSE_CALIB_DB right?"
        )
    return path


def scipost_calibrations(mode: str = "WFM-NOAO-N", *, simulated: bool = False) -> list[tuple[Path, str]]:
    """Return all (file, tag) that muse_scipost can use in a mode."""
    tags = [*STATIC, *(SIMULATED if simulated else ())]
    return [
        (find_calibration(tag, mode, simulated=simulated), tag)
        for tag in tags
        if tag != "RAMAN_LINES" or "-AO-" in mode
    ]
