# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_scibasic: bias levels, saturation, cosmic rays, wavelength shifts, images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from muse_core.basic.inputs import BasicInputs
    from muse_core.basic.results import BasicResults, IfuResult

STYLE = (
    "body{font-family:sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}"
    "td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd}"
    ".bad{background:#fdd}img{max-width:100%}"
)
COLUMNS = 6  # of the panels with images


def levels_figure(results: Sequence[IfuResult]) -> Figure:
    """Draw overscan levels, saturated pixels and hits, and wavelength shifts, IFU by IFU."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    ifus = [result.ifu for result in results]
    for k, number in enumerate((1, 2, 3, 4)):
        levels = [
            result.model.quadrants[k].stats.mean if result.model is not None else np.nan for result in results
        ]
        if np.isfinite(levels).any():
            left.plot(ifus, np.array(levels) - np.nanmedian(levels), "o", label=f"quadrant {number}")
    left.axhline(0, color="0.7", lw=0.8)
    left.set(title="overscan level relative to the median (adu)", xlabel="IFU")
    if left.lines[:-1]:
        left.legend(fontsize="small")
    middle.plot(ifus, [result.saturated for result in results], "s", label="saturated")
    if any(result.hits is not None for result in results):
        middle.plot(ifus, [result.hits or 0 for result in results], "x", label="cosmic-ray hits")
    middle.set(title="pixels", xlabel="IFU")
    middle.set_yscale("symlog")
    middle.legend(fontsize="small")
    for result in results:
        for fit in result.shift.fits:
            right.errorbar([result.ifu], [fit.offset], yerr=[abs(fit.error)], fmt=".", color="0.6")
    right.plot(ifus, [result.shift.value for result in results], "d", color="C3")
    right.axhline(0, color="0.7", lw=0.8)
    right.set(title="wavelength shift (Angstrom); grey: single lines", xlabel="IFU")
    return figure


def images_figure(results: Sequence[IfuResult]) -> Figure | None:
    """Draw the images of all IFUs, each between its own quantiles."""
    from matplotlib.figure import Figure

    shown = [result for result in results if result.preview is not None]
    if not shown:
        return None
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(13, 2.4 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, COLUMNS)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, result in zip(axes, shown, strict=False):
        image = result.preview
        if image is None:
            continue
        finite = image[np.isfinite(image)]
        low, high = np.percentile(finite, (5, 98)) if finite.size else (0.0, 1.0)
        axis.imshow(
            image, origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=max(high, low + 1e-6)
        )
        axis.set_title(f"IFU {result.ifu}", fontsize="small")
    return figure


def _png(figure: Figure | None) -> str:
    if figure is None:
        return ""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80)
    return f"<img src='data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}' alt='figure'>"


def _table(results: Sequence[IfuResult]) -> str:
    rows = [
        "<table><tr><th>IFU</th><th>rows</th><th>overscan 1..4 (adu)</th><th>saturated</th><th>hits</th>"
        "<th>shift (Angstrom)</th><th>lines used</th></tr>"
    ]
    for result in results:
        quadrants = result.model.quadrants if result.model is not None else ()
        levels = " ".join(f"{quadrant.stats.mean:.1f}" for quadrant in quadrants) or "-"
        used = len(result.shift.fits) - len(result.shift.doubts)
        hits = "-" if result.hits is None else str(result.hits)
        mark = " class='bad'" if result.shift.doubts else ""
        rows.append(
            f"<tr{mark}><td>{result.ifu}</td><td>{result.rows}</td><td>{levels}</td>"
            f"<td>{result.saturated}</td><td>{hits}</td><td>{result.shift.value:+.4f}</td>"
            f"<td>{used} of {len(result.shift.fits)}</td></tr>"
        )
    return "".join(rows) + "</table>"


def basic_report(results: BasicResults, inputs: BasicInputs) -> str:
    """Build the quality page as one self-contained HTML text, one section for each exposure."""
    parts = []
    for exposure in inputs.exposures:
        own = [result for result in results.made if result.exposure is exposure]
        parts.append(f"<h2>{escape(exposure.name)}</h2>")
        if own:
            parts += [_png(levels_figure(own)), _table(own), _png(images_figure(own))]
        failed = [(ifu, text) for (name, ifu), text in results.failed.items() if name == exposure.name]
        if failed:
            parts.append("<table>")
            parts += [
                f"<tr class='bad'><td>{ifu}</td><td>no product: {escape(text)}</td></tr>"
                for ifu, text in failed
            ]
            parts.append("</table>")
    if inputs.failed:
        parts.append(f"<p>Not in the raw data: IFU {', '.join(map(str, sorted(inputs.failed)))}.</p>")
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>muse_scibasic</title>"
        f"<style>{STYLE}</style></head><body><h1>muse_scibasic</h1>{''.join(parts)}</body></html>"
    )
