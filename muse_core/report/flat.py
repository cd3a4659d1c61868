# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_flat: levels and traces of the IFUs, images with the traces over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from muse_core.report.masters import label_ifus, missing_parts
from muse_core.report.page import BLUE, ORANGE, Page, Picture, Section, Table, new_figure, picture, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from muse_core.detector.masters_run import IfuRun
    from muse_core.masters.results import FlatFigures

LARGE_ERROR = 0.1  # pixels, of the samples about a trace, that is worth a look


def _errors(own: FlatFigures) -> np.ndarray:
    """Scatter of the samples about the middle of each slice (NaN without traces)."""
    slices = own.trace.slices if own.trace is not None else ()
    return np.array([np.sqrt(one.square[0]) if one is not None else np.nan for one in slices])


def levels_figure(made: Sequence[FlatFigures]) -> Figure:
    """Draw mean light of the IFUs, and width and scatter of the traces of all slices."""
    figure, (left, middle, right) = new_figure(10.0, 3.6, 1, 3)
    ifus = [own.ifu for own in made]
    left.plot(ifus, [own.statistics["MEAN"] for own in made], "o", color=BLUE, label="whole image")
    for own in made:
        levels = [mean for mean, _ in own.levels.values()]
        left.plot([own.ifu] * len(levels), levels, "_", color="0.6", ms=5)
        if own.trace is None:
            continue
        widths = [one.width for one in own.trace.slices if one is not None]
        middle.plot([own.ifu] * len(widths), widths, "_", color=BLUE, ms=5)
        right.plot([own.ifu] * 48, _errors(own), "_", color=ORANGE, ms=5)
    left.set(ylabel="mean light [count]; grey: slices")
    middle.set(ylabel="width of the slices [pixel]")
    right.set(ylabel="scatter about the traces [pixel]")
    for axes in (left, middle, right):
        label_ifus(axes)
    return figure


def traces_figure(own: FlatFigures) -> Figure | None:
    """Draw the flat field of an IFU with the edges of its slices."""
    image = own.preview
    if image is None:
        return None
    figure, axes = new_figure(10.0, 4.2)
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (1, 99.5)) if finite.size else (0.0, 1.0)
    ny, nx = own.shape
    axes.imshow(
        image, origin="lower", aspect="auto", cmap="gray", vmin=low, vmax=max(high, low + 1e-6),
        extent=(0.5, nx + 0.5, 0.5, ny + 0.5), interpolation="nearest",
    )  # fmt: skip
    rows = np.linspace(1.0, ny, 60)
    for one in own.trace.slices if own.trace is not None else ():
        if one is not None:
            for which in (1, 2):
                axes.plot(one.edge(which, rows), rows, color=ORANGE, lw=0.7)
    axes.set(xlim=(0.5, nx + 0.5), ylim=(0.5, ny + 0.5), xlabel="x [pixel]", ylabel="y [pixel]")
    axes.set_title(f"IFU {own.ifu}")
    return figure


def _table(made: Sequence[FlatFigures]) -> Table:
    head = (
        "IFU",
        "mean [count]",
        "width of slices [pixels]",
        "scatter [pixels]",
        "dark",
        "bright",
        "without light",
    )
    rows, marked = [], []
    for number, own in enumerate(made):
        errors = _errors(own)
        widths = [one.width for one in own.trace.slices if one is not None] if own.trace is not None else []
        if errors.size and np.nanmax(errors) > LARGE_ERROR:
            marked.append(number)
        found = own.pixels
        rows.append(
            (
                own.ifu,
                own.statistics["MEAN"],
                f"{min(widths):.2f} to {max(widths):.2f}" if widths else "-",
                f"{np.sqrt(np.nanmean(errors**2)):.4f}" if errors.size else "-",
                *((found.dark, found.bright, found.not_positive) if found is not None else ("-",) * 3),
            )
        )
    return table(head, rows, marked)


def flat_page(run: IfuRun[FlatFigures], absent: Mapping[int, str]) -> Page:
    """Describe the quality page."""
    made = list(run.made.values())
    looks, failures = missing_parts(run.failed, absent)
    for own in made:
        bad = [number for number, error in enumerate(_errors(own), 1) if error > LARGE_ERROR]
        if bad:
            looks.append(f"IFU {own.ifu}: large scatter about the traces of slice {', '.join(map(str, bad))}")
    parts: list[Picture | Table | str] = [
        picture(levels_figure(made), "light, width of slices, scatter about the traces"),
        _table(made),
        *failures,
    ]
    sections = [Section("light and traces", tuple(parts))]
    figures = [(own.ifu, figure) for own in made if (figure := traces_figure(own)) is not None]
    if figures:
        images = tuple(picture(figure, f"flat field of IFU {ifu} with its traces") for ifu, figure in figures)
        sections.append(Section("flat fields with the traces", images))
    return Page(f"{len(made)} IFUs.", looks, [], sections)
