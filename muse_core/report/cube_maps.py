# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of what a cube is worth: noise against STAT, residual sky, coverage, weights, cosmic rays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.fits_file import open_fits
from muse_core.report.cube_numbers import CubeNumbers
from muse_core.report.cube_objects import limit
from muse_core.report.page import (
    BLUE,
    GREY,
    ORANGE,
    Picture,
    Table,
    hover_image,
    hover_lines,
    new_figure,
    picture,
    table,
)
from muse_core.report.unit_label import unit_label


def noise_picture(numbers: CubeNumbers) -> Picture:
    """Draw level and scatter of the background."""
    figure, (above, below) = new_figure(10.0, 5.0, 2, 1, sharex=True)
    above.axhline(0, color=GREY, lw=0.8)
    above.plot(numbers.wave, numbers.level, color=BLUE, lw=0.8)
    limit(above, numbers.level)
    above.set(ylabel=f"level\n[{unit_label(numbers.unit)}]")
    ratio = _chi(numbers)
    below.axhline(1, color=GREY, lw=0.8)
    below.plot(numbers.wave, ratio, color=ORANGE, lw=0.8)
    limit(below, ratio, np.array([0.8, 1.2]))
    below.set(xlabel="wavelength [Å]", ylabel="scatter over\nwhat STAT tells (chi)")
    for axes in (above, below):
        axes.margins(x=0.01)
    if 0 < numbers.on_lines.sum() < 0.6 * numbers.on_lines.size:
        for axes in (above, below):
            reach = axes.get_xaxis_transform()
            axes.fill_between(numbers.wave, 0, 1, where=numbers.on_lines, transform=reach, color="0.9", lw=0)
    caption = (
        f"Spaxels without objects ({int(numbers.dark.sum())}). Above: their median. Below: their scatter "
        f"over what the variances tell (1 is right; median {numbers.chi:.3f}); neighbouring voxels share "
        "pixels, so apertures scatter more. Grey: lines of the sky."
    )
    hover = hover_lines(figure, below, numbers.wave, {"level": numbers.level, "chi": ratio})
    hover["box"][1], hover["box"][3] = 0.0, 1.0
    return picture(figure, "level and noise of the background against wavelength", caption, hover=hover)


def _chi(numbers: CubeNumbers) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(numbers.expected > 0, numbers.scatter / numbers.expected, np.nan))


def line_table(numbers: CubeNumbers) -> tuple[Table, ...]:
    """Return what is left of the sky on its lines and between them."""
    rows = []
    ratio = _chi(numbers)
    for name, chosen in (("on lines of the sky", numbers.on_lines), ("between them", ~numbers.on_lines)):
        chosen = chosen & np.isfinite(ratio) & np.isfinite(numbers.level)
        if chosen.sum() < 3:
            return ()
        level = numbers.level[chosen]
        noise = float(np.median(numbers.expected[chosen]))
        rows.append(
            (
                name, int(chosen.sum()), f"{np.median(level):+.3g}", f"{np.std(level):.2g}", f"{noise:.3g}",
                f"{np.median(ratio[chosen]):.3f}",
            )
        )  # fmt: skip
    head = ("planes", "number", "level, median", "level, scatter", "noise of a voxel (STAT)", "chi")
    return (table(head, rows),)


def coverage_pictures(numbers: CubeNumbers) -> Picture:
    """Draw how many spaxels have a value, against wavelength."""
    figure, axes = new_figure(10.0, 2.2)
    axes.plot(numbers.wave, 100 * numbers.coverage, color=BLUE, lw=1.0)
    axes.set(xlabel="wavelength [Å]", ylabel="spaxels with\na value [%]", ylim=(0, 105))
    axes.margins(x=0.01)
    return picture(figure, "coverage against wavelength", vector=True)


def map_pictures(cube: Path, numbers: CubeNumbers, shown: Mapping[str, Any]) -> list[Picture]:
    """Draw weights, scatter along wavelength, exposures and cosmic rays over the field."""
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = numbers.noise**-2.0
        middle = np.nanmedian(weights) if np.isfinite(weights).any() else 1.0
        weights = np.where(np.isfinite(weights), weights / middle, np.nan)
    maps = [
        _map(weights, "weight", "Weights: inverse of the mean variance, relative to the median.", "cividis"),
        _map(
            numbers.ripple, "chi",
            "Scatter of each spaxel along wavelength over what the variances tell; 1 is right.",
            "RdBu_r", (0.7, 1.3),
        ),
    ]  # fmt: skip
    with open_fits(cube, memmap=True) as hdus:
        if "EXPOSURES" in hdus and hdus["EXPOSURES"].data.ndim == 2:
            counts = np.array(hdus["EXPOSURES"].data, np.float64)
            maps.append(_map(counts, "exposures", "Mean number of exposures along wavelength.", "viridis"))
    if "cosmic rays" in shown:
        hits = np.where(np.isfinite(numbers.white), shown["cosmic rays"], np.nan)
        text = f"Rows left out as cosmic rays in each spaxel, all wavelengths: {np.nansum(hits):.0f}."
        maps.append(_map(hits, "rows left out", text, "magma"))
    return maps


def _map(
    image: npt.NDArray[np.float64],
    name: str,
    caption: str,
    colours: str,
    limits: tuple[float, float] | None = None,
) -> Picture:
    ny, nx = image.shape
    side_by_side = ny > 0.55 * nx
    width = 5.2 if side_by_side else 10.0
    figure, axes = new_figure(width, float(np.clip((width - 1.4) * ny / nx + 0.6, 2.0, 7.0)))
    low, high = limits or _range_of(image)
    options = {"origin": "lower", "interpolation": "nearest"}
    drawn = axes.imshow(image, cmap=colours, vmin=low, vmax=high, **options)
    axes.set(xlabel="x [spaxel]", ylabel="y [spaxel]")
    axes.set_facecolor("#cfd3d9")
    figure.colorbar(drawn, ax=axes, shrink=0.85, label=name)
    hover = hover_image(figure, axes, image, name)
    return picture(figure, f"map of {name}", caption, hover=hover, half=side_by_side)


def _range_of(image: npt.NDArray[np.float64]) -> tuple[float, float]:
    good = image[np.isfinite(image)]
    if not good.size:
        return 0.0, 1.0
    low, high = np.percentile(good, (1, 99.5))
    return float(low), float(max(high, low + 1e-12))
