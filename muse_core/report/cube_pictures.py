# SPDX-License-Identifier: BSD-3-Clause
"""The pictures of a quality page of a cube, a spectrum of the sky, a pixel table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.framework.fits_file import open_fits
from muse_core.framework.unit_spelling import factors
from muse_core.report.cube_numbers import CubeNumbers, Star, follow_star
from muse_core.report.page import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Picture,
    Section,
    hover_image,
    hover_lines,
    new_figure,
    picture,
)
from muse_core.report.preview import aperture_spectrum, brightest_object, colour_composite, stretch

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def unit_label(unit: str) -> str:
    """Return a unit as people write it.

    >>> unit_label("10**(-20)*erg/(s*cm**2*Angstrom)"), unit_label("count"), unit_label("")
    ('10⁻²⁰ erg s⁻¹ cm⁻² Å⁻¹', 'count', 'no unit')
    """
    powers = factors(unit)
    if not unit or powers is None:
        return unit or "no unit"
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    parts = [
        name.replace("Angstrom", "Å") + ("" if power == 1 else str(power).translate(digits))
        for name, power in powers.items()
    ]
    return " ".join(parts)


def cube_sections(cube: Path, numbers: CubeNumbers, files: Mapping[str, list[Path]]) -> list[Section]:
    """Describe what is shown of a cube."""
    mask = next(iter(files.get("SKY_MASK", ())), None)
    centre = brightest_object(numbers.white) if np.isfinite(numbers.white).any() else None
    sections = [Section("Field", _field_pictures(numbers, mask))]
    if centre is not None:
        sections.append(
            Section("Spectrum of the brightest object", (_object_picture(cube, numbers, centre),))
        )
        star = follow_star(cube, numbers, centre)
        if star is not None:
            sections.append(Section("Image quality and refraction", (_star_picture(star),)))
    sections.append(Section("Background and noise", (_noise_picture(numbers),)))
    sections.append(Section("Coverage", _coverage_pictures(cube, numbers)))
    return sections


def _field_pictures(numbers: CubeNumbers, mask: Path | None) -> tuple[Picture, ...]:
    ny, nx = numbers.white.shape
    height = min(9.0, 7.2 * ny / nx + 0.9)
    figure, axes = new_figure(8.0, height)
    axes.imshow(stretch(numbers.white), origin="lower", cmap="gray", interpolation="nearest")
    _dress(axes, numbers)
    caption = f"White light, mean along wavelength [{unit_label(numbers.unit)}], asinh scale."
    if mask is not None and _draw_mask(axes, mask, numbers):
        caption += " Orange: where the sky was taken."
    white = picture(
        figure, "white-light image", caption, hover=hover_image(figure, axes, numbers.white, "value")
    )
    colour, axes = new_figure(8.0, height)
    blue, middle, red = numbers.bands
    axes.imshow(colour_composite(red, middle, blue), origin="lower", interpolation="nearest")
    _dress(axes, numbers)
    return white, picture(
        colour, "colour image", "Colours: the blue, middle and red third of the wavelengths."
    )


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


def _object_picture(cube: Path, numbers: CubeNumbers, centre: tuple[int, int]) -> Picture:
    radius = max(2.0, 0.8 / numbers.step) if numbers.step > 0.05 else 10.0
    wave, flux, error = aperture_spectrum(cube, centre, radius)
    figure, axes = new_figure(10.0, 3.6)
    axes.fill_between(wave, flux - error, flux + error, color=BLUE, alpha=0.25, lw=0)
    axes.plot(wave, flux, color=BLUE, lw=0.8)
    _limits(axes, flux)
    axes.set(xlabel="wavelength [Å]", ylabel=f"sum [{unit_label(numbers.unit)}]")
    axes.margins(x=0.01)
    place = f"spaxel {centre[0] + 1}, {centre[1] + 1}"
    text = f"Sum in {radius * numbers.step:.1f} arcsec around {place}; band: error."
    return picture(
        figure, "spectrum of the brightest object", text,
        hover=hover_lines(figure, axes, wave, {"flux": flux, "error": error}),
    )  # fmt: skip


def _limits(axes: Axes, *curves: Any) -> None:
    """Limit the vertical axis to what the curves show, single wild values left out."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    if values.size:
        low, high = np.percentile(values, (0.5, 99.5))
        room = 0.15 * max(high - low, 1e-12)
        axes.set_ylim(low - room, high + room)


def _star_picture(star: Star) -> Picture:
    figure, (left, right) = new_figure(10.0, 3.4, 1, 2)
    left.plot(star.wave, star.fwhm, "o-", color=BLUE, ms=4, lw=1)
    left.set(xlabel="wavelength [Å]", ylabel="FWHM [arcsec]", ylim=(0, 1.3 * float(np.max(star.fwhm))))
    right.axhline(0, color=GREY, lw=0.8)
    right.plot(star.wave, star.dx, "o-", color=BLUE, ms=4, lw=1, label="x")
    right.plot(star.wave, star.dy, "s-", color=ORANGE, ms=4, lw=1, label="y")
    right.set(xlabel="wavelength [Å]", ylabel="place [arcsec]")
    right.legend()
    caption = (
        f"Gaussian fits to the object at spaxel {star.x + 1:.1f}, {star.y + 1:.1f} (an extended one is wider "
        "than the seeing). Right: what the correction of the refraction has left."
    )
    return picture(figure, "FWHM and place against wavelength", caption, vector=True)


def _noise_picture(numbers: CubeNumbers) -> Picture:
    figure, (above, below) = new_figure(10.0, 5.4, 2, 1)
    above.axhline(0, color=GREY, lw=0.8)
    above.plot(numbers.wave, numbers.level, color=BLUE, lw=0.8)
    _limits(above, numbers.level)
    above.set(ylabel=f"median [{unit_label(numbers.unit)}]")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = numbers.scatter / numbers.expected
    below.axhline(1, color=GREY, lw=0.8)
    below.plot(numbers.wave, ratio, color=ORANGE, lw=0.8)
    _limits(below, ratio, np.array([0.8, 1.2]))
    below.set(xlabel="wavelength [Å]", ylabel="scatter / sqrt(STAT)")
    for axes in (above, below):
        axes.margins(x=0.01)
    caption = (
        f"Spaxels without objects ({int(numbers.dark.sum())}). Above: their level. Below: their scatter over "
        f"what the variances tell (1 is right; median {numbers.chi:.3f}); neighbouring voxels share pixels, "
        "so apertures scatter more."
    )
    hover = hover_lines(figure, below, numbers.wave, {"level": numbers.level, "scatter/expected": ratio})
    hover["box"][1], hover["box"][3] = 0.0, 1.0
    return picture(figure, "level and noise of the background against wavelength", caption, hover=hover)


def _coverage_pictures(cube: Path, numbers: CubeNumbers) -> tuple[Picture, ...]:
    figure, axes = new_figure(10.0, 2.4)
    axes.plot(numbers.wave, 100 * numbers.coverage, color=BLUE, lw=0.9)
    axes.set(xlabel="wavelength [Å]", ylabel="spaxels with a value [%]", ylim=(0, 105))
    axes.margins(x=0.01)
    first = picture(figure, "coverage against wavelength", vector=True)
    with open_fits(cube, memmap=True) as hdus:
        counts = (
            np.array(hdus["EXPOSURES"].data, np.float64)
            if "EXPOSURES" in hdus and hdus["EXPOSURES"].data.ndim == 2
            else None
        )
    figure, axes = new_figure(8.0, min(9.0, 6.4 * numbers.noise.shape[0] / numbers.noise.shape[1] + 0.9))
    image, name = (numbers.noise, "noise") if counts is None else (counts, "exposures")
    drawn = axes.imshow(image, origin="lower", cmap="viridis", interpolation="nearest", **_range_of(image))
    axes.set(xlabel="x [spaxel]", ylabel="y [spaxel]")
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    text = "Root of the mean variance." if counts is None else "Mean number of exposures along wavelength."
    return first, picture(figure, f"map of the {name}", text, hover=hover_image(figure, axes, image, name))


def _range_of(image: Any) -> dict[str, float]:
    good = image[np.isfinite(image)]
    if not good.size:
        return {}
    low, high = np.percentile(good, (1, 99))
    return {"vmin": float(low), "vmax": float(max(high, low + 1e-12))}


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
    from muse_core.report.slices import slice_figure, slice_image

    image, edges, names = slice_image(path)
    title = f"Slices: {path.name}"
    if not names:
        return Section(title, ("No row of this table is without a flag.",))
    caption = (
        "Mean of the darker rows of each slice in each bin of wavelength, minus the median of all slices. "
        "Stripes along x are slices with another throughput, along y sky lines that are not subtracted alike."
    )
    return Section(title, (picture(slice_figure(image, edges), "slices against wavelength", caption),))
