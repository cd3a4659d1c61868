# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_bias: levels and read-out noise by quadrant, bad columns, images of the IFUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from muse_core.report.masters import images_figure, label_ifus, missing_parts
from muse_core.report.page import Page, Picture, Section, Table, new_figure, picture, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from muse_core.detector.masters_run import IfuRun
    from muse_core.masters.results import BiasFigures

QUADRANTS = (1, 2, 3, 4)
DRIFT = 5.0  # adu between the frames of a night that is worth a look


def noise_figure(made: Sequence[BiasFigures]) -> Figure:
    """Draw read-out noise, level and drift of each quadrant, IFU by IFU."""
    figure, (left, middle, right) = new_figure(10.0, 3.6, 1, 3)
    ifus = np.array([own.ifu for own in made])
    for k, number in enumerate(QUADRANTS):
        quadrants = [own.quadrants[number] for own in made]
        place = ifus + 0.15 * (k - 1.5)
        noise = [quadrant.noise.noise for quadrant in quadrants]
        error = [quadrant.noise.error for quadrant in quadrants]
        left.errorbar(place, noise, yerr=np.minimum(error, 1.0), fmt="o", ms=3, label=f"quadrant {number}")
        levels = np.array([np.mean(quadrant.levels) for quadrant in quadrants])
        middle.plot(place, levels - np.median(levels), "o", ms=3)
        right.plot(place, [max(q.levels) - min(q.levels) for q in quadrants], "o", ms=3)
    left.set(ylabel="read-out noise [count]")
    left.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    middle.set(ylabel="raw level minus its median [adu]")
    middle.axhline(0, color="0.7", lw=0.8)
    right.set(ylabel="drift over the frames [adu]", ylim=(0, None))
    for axes in (left, middle, right):
        label_ifus(axes)
    return figure


def _table(made: Sequence[BiasFigures]) -> Table:
    head = ("IFU", "noise 1..4 [count]", "level 1..4 [adu]", "scatter 1..4 [adu]", "bad columns [pixels]")
    rows, marked = [], []
    for number, own in enumerate(made):
        quadrants = [own.quadrants[q] for q in QUADRANTS]
        if not all(quadrant.noise.usual for quadrant in quadrants):
            marked.append(number)
        rows.append(
            (
                own.ifu,
                " ".join(f"{quadrant.noise.noise:.2f}" for quadrant in quadrants),
                " ".join(f"{np.mean(quadrant.levels):.1f}" for quadrant in quadrants),
                " ".join(f"{quadrant.statistics['STDEV']:.2f}" for quadrant in quadrants),
                own.bad,
            )
        )
    return table(head, rows, marked)


def bias_page(run: IfuRun[BiasFigures], absent: Mapping[int, str]) -> Page:
    """Describe the quality page."""
    made = list(run.made.values())
    looks, failures = missing_parts(run.failed, absent)
    for own in made:
        strange = [q for q in QUADRANTS if not own.quadrants[q].noise.usual]
        drifting = [q for q in QUADRANTS if np.ptp(own.quadrants[q].levels) > DRIFT]
        for numbers, text in ((strange, "unusual read-out noise"), (drifting, "the level drifts")):
            if numbers:
                looks.append(f"IFU {own.ifu}: {text} in quadrant {', '.join(map(str, numbers))}")
    parts: list[Picture | Table | str] = [
        picture(noise_figure(made), "read-out noise, level and drift of the quadrants"),
        _table(made),
        *failures,
    ]
    sections = [Section("Levels and noise", tuple(parts))]
    images = images_figure([(own.ifu, own.preview) for own in made])
    if images is not None:
        sections.append(Section("Images", (picture(images, "master bias of the IFUs"),)))
    frames = len(made[0].models)
    return Page(f"{len(made)} IFUs from {frames} bias frames.", looks, [], sections)
