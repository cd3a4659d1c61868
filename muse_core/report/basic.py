# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_scibasic: bias levels, saturation, cosmic rays, wavelength shifts, images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from muse_core.report.masters import images_figure
from muse_core.report.page import BLUE, GREY, ORANGE, Page, Picture, Section, Table, picture, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from muse_core.basic.inputs import BasicInputs
    from muse_core.basic.results import BasicResults, IfuResult


def levels_figure(results: Sequence[IfuResult]) -> Figure:
    """Draw overscan levels, saturated pixels and hits, and wavelength shifts, IFU by IFU."""
    from matplotlib.figure import Figure

    hits = any(result.hits for result in results)
    saturated = any(result.saturated for result in results)
    count = 3 if hits or saturated else 2
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right, *middle = figure.subplots(1, count)
    ifus = [result.ifu for result in results]
    for k, (number, shape) in enumerate(zip((1, 2, 3, 4), "osD^")):
        levels = [
            result.model.quadrants[k].stats.mean if result.model is not None else np.nan for result in results
        ]
        if np.isfinite(levels).any():
            left.plot(ifus, np.array(levels) - np.nanmedian(levels), shape, ms=4, label=f"quadrant {number}")
    left.axhline(0, color=GREY, lw=0.8)
    left.set(ylabel="overscan minus its median [adu]", xlabel="IFU")
    if left.lines[:-1]:
        left.legend(fontsize=8)
    for result in results:
        for fit in result.shift.fits:
            right.errorbar([result.ifu], [fit.offset], yerr=[abs(fit.error)], fmt=".", color=GREY)
    right.plot(ifus, [result.shift.value for result in results], "D", color=ORANGE, ms=5)
    right.axhline(0, color=GREY, lw=0.8)
    right.set(ylabel="shift of wavelengths [Å]", xlabel="IFU")
    for axis in middle:
        axis.plot(ifus, [result.saturated for result in results], "s", color=BLUE, ms=4, label="saturated")
        if hits:
            axis.plot(ifus, [result.hits or 0 for result in results], "x", color=ORANGE, label="cosmic rays")
        axis.set(ylabel="pixels", xlabel="IFU")
        axis.set_yscale("symlog")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
    return figure


def _table(results: Sequence[IfuResult]) -> Table:
    head = ("IFU", "rows", "overscan 1..4 [adu]", "saturated", "hits", "shift [Å]", "lines used")
    rows, marked = [], []
    for number, result in enumerate(results):
        quadrants = result.model.quadrants if result.model is not None else ()
        levels = " ".join(f"{quadrant.stats.mean:.1f}" for quadrant in quadrants) or "-"
        used = len(result.shift.fits) - len(result.shift.doubts)
        if result.shift.doubts:
            marked.append(number)
        rows.append(
            (
                str(result.ifu), str(result.rows), levels, str(result.saturated),
                "-" if result.hits is None else str(result.hits), f"{result.shift.value:+.4f}",
                f"{used} of {len(result.shift.fits)}",
            )
        )  # fmt: skip
    return table(head, rows, marked)


def basic_page(results: BasicResults, inputs: BasicInputs) -> Page:
    """Describe the quality page, one section for each exposure."""
    looks, sections = [], []
    for exposure in inputs.exposures:
        own = [result for result in results.made if result.exposure is exposure]
        parts: list[Picture | Table | str] = []
        if own:
            caption = "Shifts: orange as applied, grey those of single sky lines with their errors."
            parts.append(picture(levels_figure(own), "levels, pixels and shifts of the IFUs", caption))
            images = images_figure([(result.ifu, result.preview) for result in own], between=(5, 98))
            if images is not None:
                text = "Reduced images, each on its own scale: slices side by side, wavelength upwards."
                parts.append(picture(images, "images of the IFUs", text))
            parts.append(_table(own))
        failed = [(ifu, text) for (name, ifu), text in results.failed.items() if name == exposure.name]
        if failed:
            parts.append(table(("IFU", "no product, because"), failed, range(len(failed))))
            looks += [f"{exposure.name}: IFU {ifu} failed: {text}" for ifu, text in failed]
        doubtful = [result.ifu for result in own if result.shift.doubts]
        if doubtful:
            looks.append(f"{exposure.name}: doubtful sky lines in IFU {', '.join(map(str, doubtful))}")
        sections.append(Section(exposure.name, tuple(parts)))
    if inputs.failed:
        looks.append(f"Not in the raw data: IFU {', '.join(map(str, sorted(inputs.failed)))}.")
    made = f"{len(results.made)} pixel tables of {len(inputs.exposures)} exposure(s)."
    return Page(made, looks, [("exposures", ", ".join(e.name for e in inputs.exposures))], sections)
