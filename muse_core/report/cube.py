# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of a cube (muse_scipost, muse_exp_combine), from its files, also those of C recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.framework.fits_file import read_header
from muse_core.report.cube_numbers import CubeNumbers, measure_cube
from muse_core.report.cube_pictures import cube_sections, sky_picture, slice_section
from muse_core.report.makers import Files, facts, not_done
from muse_core.report.page import Page, Section
from muse_core.report.refinement import refinement_section
from muse_core.report.tables import sections_of_tables

if TYPE_CHECKING:
    from astropy.io.fits import Header

CHI = (0.85, 1.2)
"""Noise over what the variances tell, within which nobody need look."""
MOST_TABLES = 4
"""Pixel tables that a page shows."""


def page_of_files(files: Files, shown: Mapping[str, Any] | None = None) -> Page:
    """Describe the page of files by tag; those that are not there leave their part of the page out.

    Parameters
    ----------
    shown : what a run kept for its page
    """
    cube = next(iter(files.get("DATACUBE_FINAL", ())), None)
    sections: list[Section] = []
    looks: list[str] = []
    header = None
    if cube is not None:
        header = read_header(cube)
        numbers = measure_cube(cube)
        looks += verdicts(numbers, header)
        sections += cube_sections(cube, numbers, files, shown or {})
    tables = [path for tag, own in files.items() if tag.startswith("PIXTABLE_") for path in own]
    for path in files.get("SKY_SPECTRUM", ()):
        header = header if header is not None else read_header(path)
        sections.append(Section(f"Sky: {path.name}", (sky_picture(path),)))
    for path in files.get("SKY_REFINEMENT", ()):
        header = header if header is not None else read_header(path)
        sections.append(refinement_section(path))
    for path in tables[:MOST_TABLES]:
        header = header if header is not None else read_header(path)
        sections.append(slice_section(path))
    if len(tables) > MOST_TABLES:
        text = f"{len(tables) - MOST_TABLES} more pixel tables are not shown; give them to musetools report."
        sections.append(Section("More tables", (text,)))
    sections += sections_of_tables(files)
    if not sections:
        return Page("No cube, sky spectrum or reduced table was written: there is nothing to show.")
    looks += not_done(header)
    return Page("", looks, facts(header), sections)


def verdicts(numbers: CubeNumbers, header: Header) -> list[str]:
    """Return what in a cube needs a look, as sentences."""
    looks = []
    if not np.isfinite(numbers.white).any():
        return ["The cube has no value at all."]
    if np.isfinite(numbers.chi) and not CHI[0] <= numbers.chi <= CHI[1]:
        looks.append(
            f"The background scatters {numbers.chi:.2f} times as much as the variances tell (usual: "
            f"{CHI[0]} to {CHI[1]})."
        )
    good = np.isfinite(numbers.level) & (numbers.expected > 0)
    # a median of n spaxels scatters little: a level of a third of the noise of one is an offset
    if good.any():
        offset = float(np.median(numbers.level[good] / numbers.expected[good]))
        if abs(offset) > 0.33 and _sky_is_subtracted(header):
            looks.append(
                f"The background lies {offset:+.2f} noise units of a voxel off zero: look at the sky "
                "subtraction."
            )
    empty = int(np.sum(numbers.coverage == 0.0))
    if empty > max(2, 0.01 * numbers.coverage.size):
        looks.append(f"{empty} of {numbers.coverage.size} planes have no value.")
    return looks


def _sky_is_subtracted(header: Header) -> bool:
    method = next((str(value) for key, value in header.items() if key.endswith("SKY METHOD")), "")
    if method:
        return method not in ("none", "F")
    return "ESO DRS MUSE SKYSUB" in header or "ESO DRS MUSE PIXTABLE SKYSUB" in header
