# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_dark: dark current, hot pixels and noise of the IFUs, images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from muse_core.report.masters import images_figure, missing_parts
from muse_core.report.page import BLUE, Page, Picture, Section, Table, new_figure, picture, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from muse_core.detector.masters_run import IfuRun
    from muse_core.masters.results import DarkFigures

USUAL_CURRENT = (0.0, 3.0)  # count per hour
USUAL_BAD = 0.01  # of the pixels


def levels_figure(made: Sequence[DarkFigures]) -> Figure:
    """Draw dark current, hot pixels and noise, IFU by IFU."""
    figure, (left, middle, right) = new_figure(13, 4.2, 1, 3)
    ifus = [own.ifu for own in made]
    left.errorbar(
        ifus, [own.current for own in made], yerr=[own.error for own in made], fmt="o", ms=3, color=BLUE
    )
    middle.plot(ifus, [own.bad for own in made], "s", ms=4, color=BLUE)
    right.plot(ifus, [own.statistics["STDEV"] for own in made], "o", ms=4, color=BLUE)
    left.set(title="dark current (count per pixel and hour)", xlabel="IFU")
    middle.set(title="hot pixels", xlabel="IFU")
    right.set(title="scatter of good pixels (count)", xlabel="IFU")
    return figure


def _table(made: Sequence[DarkFigures]) -> Table:
    head = (
        "IFU",
        "dark current [count/h]",
        "scatter of it",
        "median [count]",
        "scatter [count]",
        "hot pixels",
    )
    rows = [
        (own.ifu, own.current, own.error, own.statistics["MEDIAN"], own.statistics["STDEV"], own.bad)
        for own in made
    ]
    return table(head, rows, [i for i, own in enumerate(made) if not _usual(own)])


def _usual(own: DarkFigures) -> bool:
    return USUAL_CURRENT[0] <= own.current <= USUAL_CURRENT[1]


def dark_page(run: IfuRun[DarkFigures], absent: Mapping[int, str]) -> Page:
    """Describe the quality page."""
    made = list(run.made.values())
    looks, failures = missing_parts(run.failed, absent)
    looks += [f"IFU {own.ifu}: unusual dark current" for own in made if not _usual(own)]
    parts: list[Picture | Table | str] = [
        picture(levels_figure(made), "dark current, hot pixels, scatter of the IFUs"),
        _table(made),
        *failures,
    ]
    sections = [Section("dark current and hot pixels", tuple(parts))]
    images = images_figure([(own.ifu, own.preview) for own in made])
    if images is not None:
        sections.append(Section("images", (picture(images, "master dark of the IFUs"),)))
    return Page(f"{len(made)} IFUs, {made[0].exptime:g} s.", looks, [], sections)
