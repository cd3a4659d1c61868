# SPDX-License-Identifier: BSD-3-Clause
"""One picture of a file, whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.framework.errors import InputError
from muse_core.framework.fits_file import open_fits
from muse_core.report.cube_numbers import measure_cube
from muse_core.report.preview import aperture_spectrum, brightest_object, colour_composite, stretch
from muse_core.report.unit_label import unit_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXEL_TABLE = ("xpos", "ypos", "lambda", "data")


def quick_figure(path: Path) -> Figure:
    """Draw a cube, an image, a pixel table or a spectrum.

    Raises
    ------
    InputError
        if it is none of these
    """
    kind = _kind(path)
    return {"cube": _cube, "pixel table": _pixel_table, "image": _image, "spectrum": _spectrum}[kind](path)


def _kind(path: Path) -> str:
    with open_fits(path, memmap=True) as hdus:
        names = {hdu.name.lower() for hdu in hdus}
        shapes = [hdu.shape for hdu in hdus if hdu.is_image and hdu.shape]
        columns = [{name.lower() for name in hdu.columns.names} for hdu in hdus if not hdu.is_image]
        if set(PIXEL_TABLE) <= names or any(set(PIXEL_TABLE) <= own for own in columns):
            return "pixel table"
        if "DATA" in hdus and "STAT" in hdus and len(hdus["DATA"].shape) == 3:
            return "cube"
        if any(len(shape) == 2 for shape in shapes):
            return "image"
        if any({"lambda", "data"} <= own or {"lambda", "flux"} <= own for own in columns):
            return "spectrum"
    raise InputError(
        path, "file", expected="a cube with DATA and STAT, an image, a pixel table or a spectrum",
        found=f"extensions {', '.join(sorted(names - {'primary', ''})) or 'none'}",
        remedy="musetools report makes a page of other products.",
    )  # fmt: skip


def _new(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _cube(path: Path) -> Figure:
    numbers = measure_cube(path)
    figure = _new(13.0, 8.5)
    (left, right), (below, noise) = figure.subplots(2, 2)
    _show(left, stretch(numbers.white), f"{path.name}: white light")
    blue, middle, red = numbers.bands
    _show(right, colour_composite(red, middle, blue), "blue, middle and red third")
    if np.isfinite(numbers.white).any():
        centre = brightest_object(numbers.white)
        wave, flux, error = aperture_spectrum(path, centre, max(2.0, 0.8 / numbers.step))
        below.fill_between(wave, flux - error, flux + error, alpha=0.3, lw=0)
        below.plot(wave, flux, lw=0.7)
        for axes in (left, right):
            axes.plot(*centre, "o", mfc="none", mec="tab:orange", ms=12)
    below.set(xlabel="wavelength [Å]", title="brightest object", ylabel=f"sum [{unit_label(numbers.unit)}]")
    noise.plot(numbers.wave, numbers.level, lw=0.7, label="median of the background")
    noise.plot(numbers.wave, numbers.scatter, lw=0.7, label="its scatter")
    noise.plot(numbers.wave, numbers.expected, lw=0.7, label="expected by STAT")
    noise.set(xlabel="wavelength [Å]", title="background", ylabel=unit_label(numbers.unit))
    noise.legend(fontsize=8)
    return figure


def _show(axes: Axes, image: Any, title: str) -> None:
    axes.imshow(image, origin="lower", cmap="gray", interpolation="nearest")
    axes.set(title=title, xlabel="x [spaxel]", ylabel="y [spaxel]")


def _image(path: Path) -> Figure:
    with open_fits(path) as hdus:
        image = next(
            np.array(h.data, np.float64) for h in hdus if h.is_image and h.shape and len(h.shape) == 2
        )
    figure = _new(8.0, min(10.0, 7.2 * image.shape[0] / image.shape[1] + 0.9))
    _show(figure.subplots(), stretch(image), path.name)
    return figure


def _spectrum(path: Path) -> Figure:
    with open_fits(path) as hdus:
        rows = next(
            h.data for h in hdus if not h.is_image and "lambda" in {n.lower() for n in h.columns.names}
        )
        flux = "data" if "data" in {name.lower() for name in rows.names} else "flux"
        wave, values = (np.array(rows[name], np.float64).ravel() for name in ("lambda", flux))
    figure = _new(11.0, 4.0)
    axes = figure.subplots()
    axes.plot(wave, values, lw=0.7)
    axes.set(title=path.name, xlabel="wavelength [Å]", ylabel=flux)
    return figure


def _pixel_table(path: Path) -> Figure:
    from muse_core.report.slices import slice_figure, slice_image

    image, edges, _ = slice_image(path)
    return slice_figure(image, edges, f"{path.name}: slices minus the median of all")
