# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of the brightest objects of a cube: spectra, width and place against wavelength."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.report.cube_numbers import CubeNumbers, Star
from muse_core.report.page import GREY, ORANGE, Picture, hover_lines, new_figure, picture
from muse_core.report.preview import aperture_spectrum
from muse_core.report.unit_label import unit_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Objects = Sequence[tuple[int, int]]
"""Pixels (ix, iy), the brightest one first."""
MARKS = (ORANGE, "#4aa3e0", "#57b36a", "#c78ad6")
"""Colours of the objects; bright enough for a dark image, dark enough for paper."""
_SHAPES = "osD^"


def spectra_picture(cube: Path, numbers: CubeNumbers, objects: Objects) -> Picture:
    """Draw the spectra of the objects in round apertures, one below the other."""
    radius = max(2.0, 0.8 / numbers.step) if numbers.step > 0.05 else 10.0
    figure, panels = new_figure(10.0, 1.0 + 1.55 * len(objects), len(objects), sharex=True, squeeze=False)
    curves: dict[str, npt.NDArray] = {}
    wave = numbers.wave
    for number, (axes, place) in enumerate(zip(panels[:, 0], objects)):
        wave, flux, error = aperture_spectrum(cube, place, radius)
        axes.fill_between(wave, flux - error, flux + error, color=MARKS[number], alpha=0.3, lw=0)
        axes.plot(wave, flux, color=MARKS[number], lw=0.9)
        limit(axes, flux)
        axes.margins(x=0.01)
        text = f"{number + 1}: spaxel {place[0] + 1}, {place[1] + 1}"
        axes.text(0.008, 0.9, text, transform=axes.transAxes, va="top", fontsize=9)
        curves[f"object {number + 1}"] = flux
    panels[-1, 0].set_xlabel("wavelength [Å]")
    figure.supylabel(f"sum [{unit_label(numbers.unit)}]", fontsize=10)
    caption = f"Sums in a radius of {radius * numbers.step:.1f} arcsec; band: error by the variances."
    hover = hover_lines(figure, panels[-1, 0], wave, curves)
    hover["box"][1], hover["box"][3] = 0.0, 1.0
    return picture(figure, "spectra of the brightest objects", caption, hover=hover)


def stars_picture(stars: Sequence[tuple[int, Star]]) -> Picture:
    """Draw widths and places of objects, numbered from 0, against wavelength."""
    figure, (left, right) = new_figure(10.0, 3.8, 1, 2)
    right.axhline(0, color=GREY, lw=0.8)
    for number, star in stars:
        style = {"color": MARKS[number], "lw": 1.0, "ms": 4}
        left.plot(star.wave, star.fwhm, _SHAPES[number] + "-", label=f"object {number + 1}", **style)
        right.plot(star.wave, star.dx, _SHAPES[number] + "-", label=f"{number + 1}, x", **style)
        right.plot(star.wave, star.dy, _SHAPES[number] + "--", mfc="none", label=f"{number + 1}, y", **style)
    widest = max(float(np.max(star.fwhm)) for _, star in stars)
    left.set(xlabel="wavelength [Å]", ylabel="FWHM [arcsec]", ylim=(0, 1.25 * widest))
    right.set(xlabel="wavelength [Å]", ylabel="place relative to its mean [arcsec]")
    largest = max(float(np.max(np.abs([star.dx, star.dy]))) for _, star in stars)
    right.set_ylim(*(np.array([-1.0, 1.7]) * max(1.15 * largest, 0.02)))
    left.legend(fontsize=8, loc="lower left", ncols=2)
    right.legend(fontsize=8, loc="upper center", ncols=len(stars))
    caption = (
        "Round Gaussians fitted to the objects marked in the field; extended ones are wider than the seeing. "
        "Right: what the correction of the refraction has left, along x and y."
    )
    return picture(figure, "FWHM and place against wavelength", caption, vector=True)


def limit(axes: Axes, *curves: npt.NDArray) -> None:
    """Limit the vertical axis to what the curves show, single wild values left out."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    if values.size:
        low, high = np.percentile(values, (0.5, 99.5))
        room = 0.2 * max(high - low, 1e-12)
        axes.set_ylim(low - room, high + 1.5 * room)
