# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_standard: response with the points it came from, telluric bands, field, fluxes."""

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
    INK,
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

KEYS = ("X", "Y", "RA", "DEC", "INTFLUX")
USUAL = (0.02, 0.5)
"""Throughputs of the instrument with telescope and atmosphere; others deserve a look."""


def page_of_files(files: Files) -> Page:
    """Describe the page of STD_RESPONSE, with STD_TELLURIC, STD_FLUXES and DATACUBE_STD beside it."""
    paths = files["STD_RESPONSE"]
    header = read_header(paths[0])
    looks: list[str] = []
    sections: list[Section] = []
    told = []
    for number, path in enumerate(paths):
        beside = {tag: own[number] for tag, own in files.items() if len(own) > number}
        more, text, unusual = _exposure(path, beside, len(paths) > 1)
        sections += more
        told.append(text)
        looks += unusual
    flags = [text for path in paths for text in not_done(read_header(path))]
    return Page(" ".join(told), [*looks, *dict.fromkeys(flags)], facts(header), sections)


def _exposure(path: Path, beside: dict[str, Path], several: bool) -> tuple[list[Section], str, list[str]]:
    header, curve = read_header(path), _columns(path)
    name = str(header.get("ESO QC STANDARD STARNAME", "unknown"))
    title = f" of {path.name}" if several else ""
    if not curve["lambda"].size:
        return [], f"No response of {name}: the table is empty.", [f"{path.name} is an empty table."]
    telluric = _columns(beside["STD_TELLURIC"]) if "STD_TELLURIC" in beside else None
    sections = [Section(f"Response{title}", (response_picture(curve, telluric),))]
    if telluric is not None and telluric["lambda"].size:
        sections.append(Section(f"Telluric absorption{title}", (telluric_picture(telluric),)))
    if "STD_FLUXES" in beside:
        sections.append(fluxes_section(beside["STD_FLUXES"], title))
    if "DATACUBE_STD" in beside:
        field = field_picture(beside["DATACUBE_STD"], beside.get("STD_FLUXES"))
        if field is not None:
            sections.append(Section(f"Field{title}", (field,)))
    looks = []
    middle = header.get("ESO QC STANDARD THRU7000")
    if middle is not None and not USUAL[0] <= float(middle) <= USUAL[1]:
        looks.append(
            f"{path.name}: a throughput of {float(middle):.3f} at 7000 Angstrom; {USUAL[0]:g} to "
            f"{USUAL[1]:g} is usual. Is it the right star, and the sky clear?"
        )
    scatter = _scatter(curve)
    text = f"Response of {name}: points scatter by {100.0 * scatter:.2f} % about the curve."
    return sections, text, looks


def _scatter(curve: dict[str, npt.NDArray[Any]]) -> float:
    """Robust relative scatter of the points about the smooth curve."""
    if "response_unsmoothed" not in curve:
        return 0.0
    off = curve["response_unsmoothed"] - curve["response"]
    return float(1.4826 * np.median(np.abs(off - np.median(off))) * 0.4 * np.log(10.0))


def _columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    with open_fits(path) as hdus:
        rows = hdus[1].data
        if rows is None:
            return {column.name: np.zeros(0) for column in hdus[1].columns}
        return {name: np.array(rows[name], np.float64) for name in rows.names}


def response_picture(
    curve: dict[str, npt.NDArray[Any]], telluric: dict[str, npt.NDArray[Any]] | None
) -> Picture:
    """Draw the curve, the points it came from, and what is left of them."""
    lam, response = curve["lambda"], curve["response"]
    figure, (above, below) = new_figure(10.0, 6.0, 2, 1)
    points = curve.get("response_unsmoothed")
    if telluric is not None:
        for first, last in band_limits(telluric["lambda"]):
            for axes in (above, below):
                axes.axvspan(first, last, color=GREY, alpha=0.25, lw=0)
    if points is not None:
        above.plot(lam, points, ".", color=GREY, ms=2.5, label="points")
        below.plot(lam, points - response, ".", color=GREY, ms=2.5)
        limit = 5.0 * max(1.4826 * float(np.median(np.abs(points - response))), 1e-4)
        below.set_ylim(-limit, limit)
    above.plot(lam, response, color=BLUE, lw=1.2, label="response")
    below.fill_between(lam, -curve["resperr"], curve["resperr"], color=BLUE, alpha=0.2, lw=0)
    below.axhline(0.0, color=BLUE, lw=0.8)
    above.set(ylabel="response [mag]")
    below.set(xlabel="wavelength [Å]", ylabel="points - curve [mag]")
    for axes in (above, below):
        axes.margins(x=0.01)
    above.legend(fontsize="small", frameon=False)
    hover = hover_lines(figure, above, lam, {"response": response, "throughput": curve["throughput"]})
    caption = (
        "2.5 log10 of (count/s/Å) per (erg/s/cm²/Å). Grey bands: telluric absorption, bridged; blue: the "
        "error of the curve. Beyond the points the curve is extrapolated."
    )
    return picture(figure, "response curve with its points", caption, hover=hover)


def band_limits(lam: npt.NDArray[Any]) -> list[tuple[float, float]]:
    """Return first and last wavelength of each band of STD_TELLURIC; between them lie gaps."""
    if not lam.size:
        return []
    step = float(np.median(np.diff(lam))) if lam.size > 1 else 1.0
    cuts = np.flatnonzero(np.diff(lam) > 5.0 * max(step, 1e-6)) + 1
    return [(float(part[0]), float(part[-1])) for part in np.split(lam, cuts) if part.size > 1]


def telluric_picture(telluric: dict[str, npt.NDArray[Any]]) -> Picture:
    """Draw the transmission of the atmosphere in the bands."""
    lam, factor = telluric["lambda"], telluric["ftelluric"]
    figure, axes = new_figure(10.0, 3.0)
    for first, last in band_limits(lam):
        inside = (lam >= first) & (lam <= last)
        axes.plot(lam[inside], factor[inside], color=BLUE, lw=0.9)
    axes.axhline(1.0, color=GREY, lw=0.6)
    axes.set(xlabel="wavelength [Å]", ylabel="transmission at airmass 1", ylim=(-0.03, 1.08))
    axes.margins(x=0.02)
    hover = hover_lines(figure, axes, lam, {"transmission": factor})
    return picture(figure, "telluric transmission", "", hover=hover)


def fluxes_section(path: Path, title: str) -> Section:
    """Draw the counts of the standard star and list all stars."""
    with open_fits(path) as hdus:
        data = np.array(hdus["DATA"].data, np.float64)
        axis, header = hdus["DATA"].header, hdus[0].header
        lam = float(axis["CRVAL1"]) + np.arange(data.shape[1]) * float(axis["CD1_1"])
        prefix = "ESO DRS MUSE FLUX"
        chosen = int(header.get(f"{prefix} NSEL", 1))
        rows = [
            [n, *(float(header.get(f"{prefix} OBJ{n} {key}", np.nan)) for key in KEYS)]
            for n in range(1, data.shape[0] + 1)
        ]
    figure, axes = new_figure(10.0, 3.0)
    counts = np.where(data[chosen - 1] > 0.0, data[chosen - 1], np.nan)
    axes.plot(lam, counts, color=INK, lw=0.7)
    axes.set(xlabel="wavelength [Å]", ylabel="flux of the star [count]")
    axes.margins(x=0.01)
    hover = hover_lines(figure, axes, lam, {"counts": counts})
    lost = int(np.count_nonzero(~np.isfinite(counts)))
    caption = f"Planes without a flux: {lost} of {lam.size}."
    head = ("star", "x [pixel]", "y [pixel]", "RA [deg]", "DEC [deg]", "sum [count]")
    shown = picture(figure, "counts of the standard star", caption, hover=hover)
    return Section(f"Stars{title}", (shown, table(head, rows)))


def field_picture(cube: Path, fluxes: Path | None) -> Picture | None:
    """Draw the white-light image with the stars; None where the cube has none."""
    with open_fits(cube) as hdus:
        names = [str(hdu.header.get("EXTNAME", "")).strip() for hdu in hdus]
        images = [k for k, hdu in enumerate(hdus) if hdu.header.get("NAXIS") == 2 and k > 0]
        if not images:
            return None
        place = names.index("white") if "white" in names else images[0]
        image = np.array(hdus[place].data, np.float32)
    ny, nx = image.shape
    figure, axes = new_figure(8.0, min(9.0, max(3.0, 7.2 * ny / nx + 0.9)))
    axes.imshow(stretch(image), origin="lower", cmap="gray", interpolation="nearest")
    if fluxes is not None:
        header = read_header(fluxes)
        chosen = int(header.get("ESO DRS MUSE FLUX NSEL", 1))
        for n in range(1, int(header.get("ESO DRS MUSE FLUX NOBJ", 0)) + 1):
            x, y = (float(header.get(f"ESO DRS MUSE FLUX OBJ{n} {axis}", np.nan)) - 1.0 for axis in "XY")
            axes.plot(x, y, "o", mfc="none", mec=ORANGE if n == chosen else GREY, ms=14)
    axes.set(xlabel="x [spaxel]", ylabel="y [spaxel]", xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5))
    hover = hover_image(figure, axes, image, "value")
    caption = f"Image {names[place]}, asinh scale. Orange: the star of the response."
    return picture(figure, "field of the standard star", caption, hover=hover)
