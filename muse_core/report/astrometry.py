# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_astrometry: matched stars over the field with residual arrows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.data.tangent_plane import TanWcs
from muse_core.framework.fits_file import open_fits, read_header
from muse_core.report.makers import Files, facts, not_done
from muse_core.report.page import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Page,
    Picture,
    Section,
    hover_image,
    new_figure,
    picture,
    table,
)
from muse_core.report.preview import stretch

LARGE = 0.05
"""Scatter of the residuals [arcsec] that deserves a look."""
MOST = 60
Columns = dict[str, npt.NDArray[Any]]


def page_of_files(files: Files) -> Page:
    """Describe the page of ASTROMETRY_WCS, with DATACUBE_ASTROMETRY where it is there."""
    paths = files["ASTROMETRY_WCS"]
    header = read_header(paths[0])
    looks: list[str] = []
    told: list[str] = []
    sections: list[Section] = []
    for number, path in enumerate(paths):
        cubes = files.get("DATACUBE_ASTROMETRY", [])
        own = read_header(path)
        stars = _sources(path)
        residuals = residuals_of(own, stars)
        title = f" of {path.name}" if len(paths) > 1 else ""
        told.append(
            f"{len(stars['XPOS'])} stars, {own.get('ESO QC ASTRO SCALE X', 0.0):.5f} by "
            f"{own.get('ESO QC ASTRO SCALE Y', 0.0):.5f} arcsec, turned by "
            f"{own.get('ESO QC ASTRO ANGLE Y', 0.0):.3f} deg."
        )
        cube = cubes[number] if len(cubes) > number else None
        pictures = arrows_picture(stars, residuals, cube), scatter_picture(residuals)
        sections.append(Section(f"Residuals{title}", pictures))
        sections.append(Section(f"Stars{title}", (_table(stars, residuals),)))
        spread = [float(own.get(f"ESO QC ASTRO MEDRES {axis}", 0.0)) for axis in "XY"]
        if max(spread) > LARGE:
            text = f"the residuals scatter by {max(spread):.3f} arcsec, less than {LARGE:g} is usual."
            looks.append(f"{path.name}: {text}")
    flags = [text for path in paths for text in not_done(read_header(path))]
    return Page(" ".join(told), [*looks, *dict.fromkeys(flags)], facts(header), sections)


def _sources(path: Path) -> Columns:
    with open_fits(path) as hdus:
        rows = hdus["ASTROMETRY_SOURCES"].data
        return {name: np.array(rows[name], np.float64) for name in rows.names}


def residuals_of(header: Any, stars: Columns) -> npt.NDArray[np.float64]:
    """Return solution minus catalogue in pixels, after a shift and a turn, float64[n, 2]."""
    cd = [[float(header[f"CD{i}_{j}"]) for j in (1, 2)] for i in (1, 2)]
    crval = float(header["CRVAL1"]), float(header["CRVAL2"])
    wcs = TanWcs((float(header["CRPIX1"]), float(header["CRPIX2"])), crval, (tuple(cd[0]), tuple(cd[1])))  # type: ignore[arg-type]
    x, y = wcs.pixel(stars["RA"], stars["DEC"])
    catalogue, seen = x + 1j * y, stars["XPOS"] + 1j * stars["YPOS"]
    a, b = catalogue - np.median(catalogue.real) - 1j * np.median(catalogue.imag), seen - seen.mean()
    a = a - a.mean()
    turn = np.vdot(a, b)
    off = b - a * (turn / abs(turn) if abs(turn) > 0 else 1.0)
    return np.column_stack([off.real, off.imag])


def arrows_picture(stars: Columns, residuals: npt.NDArray[np.float64], cube: Path | None) -> Picture:
    """Draw the stars over the field, with arrows that show their residuals many times larger."""
    image = None
    if cube is not None:
        with open_fits(cube) as hdus:
            names = [str(hdu.header.get("EXTNAME", "")).strip() for hdu in hdus]
            if "ASTROMETRY_DETECTION" in names:
                image = np.array(hdus[names.index("ASTROMETRY_DETECTION")].data, np.float32)
    size = (1.0, 1.0) if image is None else image.shape
    figure, axes = new_figure(8.0, min(9.0, max(3.0, 7.2 * size[0] / size[1] + 0.9)))
    x, y = stars["XPOS"] - 1.0, stars["YPOS"] - 1.0
    if image is not None:
        axes.imshow(stretch(image), origin="lower", cmap="gray", interpolation="nearest")
    axes.plot(x, y, "o", mfc="none", mec=ORANGE, ms=9, mew=0.8)
    span = max(float(np.ptp(x)), float(np.ptp(y)), 1.0)
    longest = max(float(np.hypot(*residuals.T).max(initial=0.0)), 1e-6)
    factor = 0.08 * span / longest
    axes.quiver(
        x, y, residuals[:, 0] * factor, residuals[:, 1] * factor, angles="xy", scale_units="xy", scale=1.0,
        color=BLUE, width=0.004,
    )  # fmt: skip
    axes.set(xlabel="x [spaxel]", ylabel="y [spaxel]")
    hover = None if image is None else hover_image(figure, axes, image, "value")
    caption = (
        f"Circles: stars found in the catalogue. Arrows: residuals, {factor:.0f} times larger (the longest: "
        f"{longest:.3f} spaxels)."
    )
    return picture(figure, "matched stars with residual arrows", caption, hover=hover)


def scatter_picture(residuals: npt.NDArray[np.float64]) -> Picture:
    """Draw the residuals against each other."""
    figure, axes = new_figure(5.0, 4.6)
    axes.axhline(0.0, color=GREY, lw=0.6)
    axes.axvline(0.0, color=GREY, lw=0.6)
    axes.plot(residuals[:, 0], residuals[:, 1], "o", color=INK, ms=4)
    axes.set(xlabel="residual in x [spaxel]", ylabel="residual in y [spaxel]")
    axes.axis("equal")
    return picture(figure, "residuals of the stars", vector=True)


def _table(stars: Columns, residuals: npt.NDArray[np.float64]) -> Any:
    head = ("star", "x", "y", "error", "FWHM", "flux", "RA [deg]", "DEC [deg]", "residual x", "residual y")
    rows, marked = [], []
    limit = 5.0 * 1.4826 * float(np.median(np.abs(residuals))) if len(residuals) else 0.0
    for k in range(min(len(residuals), MOST)):
        if np.abs(residuals[k]).max() > limit > 0.0:
            marked.append(k)
        rows.append(
            (
                k + 1, f"{stars['XPOS'][k]:.3f}", f"{stars['YPOS'][k]:.3f}", f"{stars['XERR'][k]:.4f}",
                f"{0.5 * (stars['XFWHM'][k] + stars['YFWHM'][k]):.2f}", float(stars["FLUX"][k]),
                f"{stars['RA'][k]:.6f}", f"{stars['DEC'][k]:.6f}",
                f"{residuals[k, 0]:+.4f}", f"{residuals[k, 1]:+.4f}",
            )
        )  # fmt: skip
    return table(head, rows, marked)
