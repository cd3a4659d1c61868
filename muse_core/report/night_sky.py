# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_create_sky: where the sky was found, its spectrum, its lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.fits_file import open_fits, read_header
from muse_core.report.makers import Files, facts, not_done
from muse_core.report.page import (
    BLUE,
    GREY,
    ORANGE,
    Page,
    Picture,
    Section,
    hover_image,
    hover_lines,
    new_figure,
    picture,
    table,
)
from muse_core.report.preview import stretch

STRONGEST = 25
LITTLE = 10.0
"""Percent of the field that is sky, below which the page asks for a look."""


def page_of_files(files: Files) -> Page:
    """Describe the page of SKY_SPECTRUM, and of what of SKY_IMAGE, SKY_MASK, SKY_LINES and so on is there."""
    first = {tag: paths[0] for tag, paths in files.items() if paths}
    spectrum = first["SKY_SPECTRUM"]
    header = read_header(spectrum)
    looks, verdict = [], ""
    sections = []
    if "SKY_IMAGE" in first and "SKY_MASK" in first:
        shown, share = field_picture(first["SKY_IMAGE"], first["SKY_MASK"])
        sections.append(Section("Field", (shown,)))
        verdict = f"{share:.0f} % of the field is taken for sky."
        if share < LITTLE:
            looks.append(f"Only {share:.1f} % of the field is taken for sky.")
    lines = _columns(first["SKY_LINES"]) if "SKY_LINES" in first else None
    continuum = _columns(first["SKY_CONTINUUM"]) if "SKY_CONTINUUM" in first else None
    sections.append(Section("Sky", (spectrum_picture(_columns(spectrum), continuum, lines),)))
    if lines is not None:
        dark = [
            int(g) + 1
            for g in np.unique(lines["group"])
            if not (lines["flux"][lines["group"] == g] > 0).any()
        ]
        if dark:
            looks.append(f"Groups of lines without any flux: {', '.join(map(str, dark))}.")
        order = np.argsort(-lines["flux"], kind="stable")[:STRONGEST]
        rows = [
            (str(lines["name"][i]).strip(), int(lines["group"][i]) + 1, f"{lines['lambda'][i]:.3f}",
             float(lines["flux"][i]))
            for i in order
        ]  # fmt: skip
        title = f"Strongest {len(rows)} of {lines['flux'].size} lines"
        sections.append(Section(title, (table(("line", "group", "wavelength [Å]", "flux"), rows),)))
    flags = [text for path in first.values() for text in not_done(read_header(path))]
    return Page(verdict, [*looks, *dict.fromkeys(flags)], facts(header), sections)


def _columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    with open_fits(path) as hdus:
        rows = next(hdu.data for hdu in hdus[1:] if hdu.data is not None)
        return {name: np.array(rows[name]) for name in rows.names}


def field_picture(image: Path, mask: Path) -> tuple[Picture, float]:
    """Draw the white-light image with what is not sky shaded; return it with the percentage of sky."""
    with open_fits(image) as hdus:
        white = np.array(hdus["DATA"].data, np.float32)
        white[np.array(hdus["DQ"].data) != 0] = np.nan
    with open_fits(mask) as hdus:
        sky = np.array(hdus[0].data) != 0
    ny, nx = white.shape
    figure, axes = new_figure(8.0, min(9.0, max(3.0, 7.2 * ny / nx + 0.9)))
    axes.imshow(stretch(white), origin="lower", cmap="gray", interpolation="nearest")
    filled = np.isfinite(white)
    shade = np.ma.masked_where(sky | ~filled, np.ones(white.shape))
    axes.imshow(shade, origin="lower", cmap="autumn", alpha=0.3, interpolation="nearest")
    axes.set(xlabel="x [spaxel]", ylabel="y [spaxel]")
    share = 100.0 * float(sky[filled].mean()) if filled.any() else 0.0
    hover = hover_image(figure, axes, white, "value")
    caption = "White light, asinh scale. Shaded: not taken for sky."
    return picture(figure, "white-light image and sky mask", caption, hover=hover), share


def spectrum_picture(
    sky: dict[str, npt.NDArray[Any]],
    continuum: dict[str, npt.NDArray[Any]] | None,
    lines: dict[str, npt.NDArray[Any]] | None,
) -> Picture:
    """Draw the mean spectrum of the sky, its continuum, and where each group of lines is strongest."""
    figure, axes = new_figure(10.0, 4.2)
    lam, flux = sky["lambda"].astype(float), sky["data"].astype(float)
    axes.plot(lam, flux, color=BLUE, lw=0.7, label="sky")
    if continuum is not None:
        axes.plot(continuum["lambda"], continuum["flux"], color=ORANGE, lw=0.9, label="continuum")
    if lines is not None:
        for group in np.unique(lines["group"]):
            mine = np.flatnonzero(lines["group"] == group)
            axes.axvline(lines["lambda"][mine[np.argmax(lines["flux"][mine])]], color=GREY, lw=0.5, zorder=0)
    finite = flux[np.isfinite(flux)]
    if finite.size:
        low, high = (float(v) for v in np.percentile(finite, (0.5, 99.5)))
        axes.set_ylim(low - 0.1 * (high - low), high + 0.3 * (high - low))
    axes.set(xlabel="wavelength [Å]", ylabel="mean of the sky")
    axes.margins(x=0.01)
    axes.legend(fontsize="small", frameon=False)
    hover = hover_lines(figure, axes, lam, {"sky": flux})
    caption = "Grey: the strongest line of each group."
    return picture(figure, "mean spectrum of the sky and its continuum", caption, hover=hover)
