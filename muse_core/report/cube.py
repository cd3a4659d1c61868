# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of a cube (muse_scipost, muse_exp_combine), from its files, also those of C recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.framework.errors import RecipeError
from muse_core.framework.fits_file import open_fits, read_header
from muse_core.framework.frames import ProductFrame
from muse_core.framework.unit_spelling import factors
from muse_core.report.cube_numbers import CubeNumbers, Star, follow_star, measure_cube
from muse_core.report.page import Page, Picture, Section, hover_image, hover_lines, picture, table
from muse_core.report.preview import aperture_spectrum, brightest_object, colour_composite, stretch

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHI = (0.85, 1.2)
"""Noise over what the variances tell, within which nobody need look."""
INK, BLUE, ORANGE, GREY = "#1d2229", "#2a6fb0", "#d9731a", "#9aa3af"


def cube_page(products: Iterable[ProductFrame]) -> Page:
    """Describe the page of the products of a run."""
    files: dict[str, list[Path]] = {}
    for product in products:
        files.setdefault(product.tag, []).append(product.path)
    return page_of_files(files)


def page_of_files(files: Mapping[str, list[Path]]) -> Page:
    """Describe the page of files by tag; those that are not there leave their part of the page out."""
    cube = next(iter(files.get("DATACUBE_FINAL", ())), None)
    sections: list[Section] = []
    looks: list[str] = []
    header = None
    if cube is not None:
        header = read_header(cube)
        numbers = measure_cube(cube)
        looks += verdicts(numbers, header)
        sections += _cube_sections(cube, numbers, files)
    tables = [path for tag, own in files.items() if tag.startswith("PIXTABLE_") for path in own]
    for path in files.get("SKY_SPECTRUM", ()):
        header = header if header is not None else read_header(path)
        sections.append(Section(f"Sky: {path.name}", (_sky_picture(path),)))
    for path in tables[:4]:
        header = header if header is not None else read_header(path)
        sections += _slice_section(path)
    if not sections:
        return Page("No cube, sky spectrum or reduced table was written: there is nothing to show.")
    looks += _flags(header)
    return Page("", looks, _facts(header), sections)


def verdicts(numbers: CubeNumbers, header: Header) -> list[str]:
    """Return what in a cube needs a look, as sentences."""
    looks = []
    if not np.isfinite(numbers.white).any():
        return ["The cube has no value at all."]
    if np.isfinite(numbers.chi) and not CHI[0] <= numbers.chi <= CHI[1]:
        looks.append(
            f"The background scatters {numbers.chi:.2f} times as much as the variances tell (usual: "
            f"{CHI[0]} to {CHI[1]})."
        )
    good = np.isfinite(numbers.level) & (numbers.expected > 0)
    # a median of n spaxels scatters little: a level of a third of the noise of one is an offset
    if good.any():
        offset = float(np.median(numbers.level[good] / numbers.expected[good]))
        if abs(offset) > 0.33 and _sky_is_subtracted(header):
            looks.append(
                f"The background lies {offset:+.2f} noise units of a voxel off zero: look at the sky "
                "subtraction."
            )
    empty = int(np.sum(numbers.coverage == 0.0))
    if empty > max(2, 0.01 * numbers.coverage.size):
        looks.append(f"{empty} of {numbers.coverage.size} planes have no value.")
    return looks


def _sky_is_subtracted(header: Header) -> bool:
    method = next((str(value) for key, value in header.items() if key.endswith("SKY METHOD")), "")
    if method:
        return method not in ("none", "F")
    return "ESO DRS MUSE SKYSUB" in header or "ESO DRS MUSE PIXTABLE SKYSUB" in header


def _flags(header: Header | None) -> list[str]:
    """Return what the QC flags say was not done."""
    return [
        f"{key.removeprefix('ESO ')}: no ({header.comments[key]})"
        for key in (header or ())
        if key.startswith("ESO QC") and header is not None and header[key] is False
    ]


def _facts(header: Header | None) -> list[tuple[str, str]]:
    if header is None:
        return []
    names = (
        ("target", "OBJECT"), ("mode", "ESO INS MODE"), ("observed", "DATE-OBS"),
        ("exposure time [s]", "EXPTIME"), ("programme", "ESO OBS PROG ID"), ("observer", "OBSERVER"),
        ("principal investigator", "PI-COI"),
    )  # fmt: skip
    return [(name, str(header[key])) for name, key in names if key in header]


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


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def _cube_sections(cube: Path, numbers: CubeNumbers, files: Mapping[str, list[Path]]) -> list[Section]:
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
    figure, axes = _figure(8.0, height)
    axes.imshow(stretch(numbers.white), origin="lower", cmap="gray", interpolation="nearest")
    _dress(axes, numbers)
    caption = f"White light, mean along wavelength [{unit_label(numbers.unit)}], asinh scale."
    if mask is not None and _draw_mask(axes, mask, numbers):
        caption += " Orange: where the sky was taken."
    white = picture(
        figure, "white-light image", caption, hover=hover_image(figure, axes, numbers.white, "value")
    )
    colour, axes = _figure(8.0, height)
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
    figure, axes = _figure(10.0, 3.6)
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
    figure, (left, right) = _figure(10.0, 3.4, 1, 2)
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
    figure, (above, below) = _figure(10.0, 5.4, 2, 1)
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
    figure, axes = _figure(10.0, 2.4)
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
    figure, axes = _figure(8.0, min(9.0, 6.4 * numbers.noise.shape[0] / numbers.noise.shape[1] + 0.9))
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


def _sky_picture(path: Path) -> Picture:
    with open_fits(path) as hdus:
        rows = next(hdu.data for hdu in hdus[1:] if hdu.data is not None)
        wave, flux = (np.array(rows[name], np.float64).ravel() for name in ("lambda", "data"))
    figure, axes = _figure(10.0, 3.2)
    axes.plot(wave, flux, color=INK, lw=0.6)
    axes.set(xlabel="wavelength [Å]", ylabel="mean of the sky")
    axes.margins(x=0.01)
    return picture(
        figure, "spectrum of the sky", path.name, hover=hover_lines(figure, axes, wave, {"sky": flux})
    )


def _slice_section(path: Path) -> list[Section]:
    from muse_core.report.slices import slice_image

    try:
        image, wave, names = slice_image(path)
    except RecipeError:
        return []
    if not names:
        return []
    figure, axes = _figure(10.0, max(2.6, min(9.0, 0.012 * len(names) + 2.0)))
    spread = float(np.nanpercentile(np.abs(image), 97)) if np.isfinite(image).any() else 1.0
    drawn = axes.imshow(
        image, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-spread, vmax=spread,
        interpolation="nearest", extent=(wave[0], wave[-1], -0.5, len(names) - 0.5),
    )  # fmt: skip
    axes.set(xlabel="wavelength [Å]", ylabel="slice (IFU by IFU)")
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    caption = (
        f"{path.name}: mean of the darker rows of each slice in each bin of wavelength, minus the median of "
        "all slices. Stripes along x are slices with another throughput, along y sky lines that are "
        "not subtracted alike."
    )
    return [Section(f"Slices: {path.name}", (picture(figure, "slices against wavelength", caption),))]


def summary_table(files: Mapping[str, list[Path]]) -> Any:
    """Return a table of the files of a page."""
    return table(("tag", "files"), [(tag, len(paths)) for tag, paths in files.items()])
