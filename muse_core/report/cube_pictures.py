# SPDX-License-Identifier: BSD-3-Clause
"""What a quality page shows of a cube, a spectrum of the sky, a pixel table, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.framework.fits_file import open_fits
from muse_core.report.cube_maps import coverage_pictures, line_table, map_pictures, noise_picture
from muse_core.report.cube_numbers import CubeNumbers, follow_star
from muse_core.report.cube_objects import MARKS, Objects, spectra_picture, stars_picture
from muse_core.report.page import (
    INK,
    ORANGE,
    Picture,
    Section,
    hover_image,
    hover_lines,
    new_figure,
    picture,
    table,
)
from muse_core.report.preview import brightest_objects, colour_composite, stretch
from muse_core.report.unit_label import unit_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_OBJECTS = 4
APART = 2.0  # arcsec between objects that are followed


def cube_sections(
    cube: Path, numbers: CubeNumbers, files: Mapping[str, list[Path]], shown: Mapping[str, Any]
) -> list[Section]:
    """Describe what is shown of a cube.

    Parameters
    ----------
    shown : what the run kept for its page: ``cosmic rays``, int[ny, nx], rows that were left out
    """
    mask = next(iter(files.get("SKY_MASK", ())), None)
    objects: Objects = []
    if np.isfinite(numbers.white).any():
        objects = brightest_objects(numbers.white, MOST_OBJECTS, round(APART / max(numbers.step, 0.02)))
    sections = [Section("Field", _field_pictures(numbers, mask, objects))]
    if objects:
        picture_of = spectra_picture(cube, numbers, objects)
        sections.append(Section("Spectra of the brightest objects", (picture_of,)))
        followed = [(n, follow_star(cube, numbers, place)) for n, place in enumerate(objects)]
        stars = [(n, star) for n, star in followed if star is not None]
        if stars:
            sections.append(Section("Image quality and refraction", (stars_picture(stars),)))
    sections.append(Section("Background and noise", (noise_picture(numbers), *line_table(numbers))))
    maps = map_pictures(cube, numbers, shown)
    sections.append(Section("Coverage and weights", (coverage_pictures(numbers), *maps)))
    return sections


def _field_pictures(numbers: CubeNumbers, mask: Path | None, objects: Objects) -> tuple[Picture, ...]:
    ny, nx = numbers.white.shape
    side_by_side = ny > 0.55 * nx
    width = 5.2 if side_by_side else 10.0
    height = float(np.clip((width - 0.7) * ny / nx + 0.6, 2.0, 7.0))
    figure, axes = new_figure(width, height)
    axes.imshow(stretch(numbers.white), origin="lower", cmap="gray", interpolation="nearest")
    _dress(axes, numbers)
    caption = f"White light, mean along wavelength [{unit_label(numbers.unit)}], asinh scale."
    if mask is not None and _draw_mask(axes, mask, numbers):
        caption += " Orange: where the sky was taken."
    for number, (ix, iy) in enumerate(objects):
        axes.plot(ix, iy, "o", mfc="none", mec=MARKS[number], ms=11, mew=1.4)
        axes.annotate(
            str(number + 1), (ix, iy), (8, 5), textcoords="offset points", color=MARKS[number], weight="bold"
        )
    hover = hover_image(figure, axes, numbers.white, "value")
    white = picture(figure, "white-light image", caption, hover=hover, half=side_by_side)
    colour, axes = new_figure(width, height)
    blue, middle, red = numbers.bands
    axes.imshow(colour_composite(red, middle, blue), origin="lower", interpolation="nearest")
    _dress(axes, numbers)
    text = "Colours: the blue, middle and red third of the wavelengths."
    return white, picture(colour, "colour image", text, half=side_by_side)


def _dress(axes: Axes, numbers: CubeNumbers) -> None:
    """Draw a scale bar and, on the sky, a compass."""
    ny, nx = numbers.white.shape
    axes.set_xlabel("x [spaxel]")
    axes.set_ylabel("y [spaxel]")
    wanted = 0.2 * nx * numbers.step
    length = max((v for v in (0.5, 1, 2, 5, 10, 20, 30, 60, 120) if v <= wanted), default=wanted)
    pixels = length / numbers.step
    axes.plot([0.04 * nx, 0.04 * nx + pixels], [0.05 * ny] * 2, color="w", lw=3, solid_capstyle="butt")
    axes.text(
        0.04 * nx + pixels / 2, 0.07 * ny, f'{length:g}"', color="w", ha="center", va="bottom", fontsize=9
    )
    if str(numbers.header.get("CTYPE1", "")).startswith("RA"):
        _compass(axes, numbers, (0.9 * nx, 0.12 * ny), 0.08 * min(nx, ny))


def _compass(axes: Axes, numbers: CubeNumbers, at: tuple[float, float], size: float) -> None:
    h = numbers.header
    matrix = np.array(
        [[h.get("CD1_1", 0.0), h.get("CD1_2", 0.0)], [h.get("CD2_1", 0.0), h.get("CD2_2", 0.0)]]
    )
    if np.linalg.det(matrix) == 0.0:
        return
    for name, way in (("E", (1.0, 0.0)), ("N", (0.0, 1.0))):
        arrow = np.linalg.solve(matrix, way)
        arrow *= size / np.hypot(*arrow)
        axes.annotate(
            "",
            (at[0] + arrow[0], at[1] + arrow[1]),
            at,
            arrowprops={"arrowstyle": "->", "color": "w", "lw": 1.5},
        )
        axes.text(
            at[0] + 1.35 * arrow[0],
            at[1] + 1.35 * arrow[1],
            name,
            color="w",
            ha="center",
            va="center",
            fontsize=9,
        )


def _draw_mask(axes: Axes, path: Path, numbers: CubeNumbers) -> bool:
    """Outline the sky mask where it lies on the grid of the cube."""
    with open_fits(path) as hdus:
        mask = next((np.array(hdu.data) for hdu in hdus if hdu.data is not None and hdu.data.ndim == 2), None)
    if mask is None or mask.shape != numbers.white.shape:
        return False
    axes.contour(mask != 0, levels=[0.5], colors=ORANGE, linewidths=0.6)
    return True


def sky_picture(path: Path) -> Picture:
    """Draw a spectrum of the sky."""
    with open_fits(path) as hdus:
        rows = next(hdu.data for hdu in hdus[1:] if hdu.data is not None)
        wave, flux = (np.array(rows[name], np.float64).ravel() for name in ("lambda", "data"))
    figure, axes = new_figure(10.0, 3.2)
    axes.plot(wave, flux, color=INK, lw=0.6)
    axes.set(xlabel="wavelength [Å]", ylabel="mean of the sky")
    axes.margins(x=0.01)
    return picture(
        figure, "spectrum of the sky", path.name, hover=hover_lines(figure, axes, wave, {"sky": flux})
    )


def slice_section(path: Path) -> Section:
    """Describe what is shown of a pixel table."""
    from muse_core.report.slices import measure_slices, slice_figure

    found = measure_slices(path)
    title = f"Slices: {path.name}"
    if not found.slices:
        return Section(title, ("No row of this table is without a flag.",))
    caption = (
        "Mean of the darker rows of each slice in each bin of wavelength, minus the median of all slices. "
        "Stripes along x are slices with another throughput, along y sky lines that are not subtracted alike."
    )
    image = slice_figure(found.image, found.edges, slices=found.slices)
    numbers = []
    ifus = np.array([ifu for ifu, _ in found.slices])
    for ifu in np.flatnonzero(found.rows) + 1:
        own = found.image[ifus == ifu]
        if not np.isfinite(own).any():
            continue
        levels = [np.nanmean(line) for line in own if np.isfinite(line).any()]
        rows, flagged = int(found.rows[ifu - 1]), int(found.flagged[ifu - 1])
        share = f"{100.0 * flagged / rows:.2f}"
        numbers.append((int(ifu), rows, share, f"{np.mean(levels):+.3g}", f"{np.std(levels):.2g}"))
    head = ("IFU", "rows", "flagged [%]", "level of its slices", "scatter between them")
    return Section(title, (picture(image, "slices against wavelength", caption), table(head, numbers)))
