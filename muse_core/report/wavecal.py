# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_wavecal: rms and resolution of slices, residuals of lines, lamp spectra."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
    hover_lines,
    new_figure,
    picture,
    table,
)

Floats = npt.NDArray[np.float64]
QC = "ESO QC WAVECAL"
MIDDLE = 24
"""The slice whose spectrum is shown."""
MOST_RMS = 0.05  # Angstrom
FEWEST_LINES = 30
MOST_NAMED = 5  # slices of an IFU, each in a line
LABELS = 40


@dataclass(frozen=True)
class Solved:
    """What a WAVECAL_TABLE tells of the slices of one IFU (float64[48], NaN without solution)."""

    ifu: int
    rms: Floats
    resolution: Floats
    fwhm: Floats
    lines: Floats
    identified: Floats


def page_of_files(files: Files) -> Page:
    """Describe the page of WAVECAL_TABLE, and of WAVECAL_RESIDUALS and ARC_RED_LAMP if they are there."""
    solved = sorted(
        (one for path in files["WAVECAL_TABLE"] for one in read_solved(path)), key=lambda s: s.ifu
    )
    header = read_header(files["WAVECAL_TABLE"][0])
    rms = np.concatenate([one.rms for one in solved])
    failed = int(np.isnan(rms).sum())
    verdict = (
        f"{rms.size - failed} slices of {len(solved)} IFU(s), rms {np.nanmedian(rms):.4f} Å in the median."
    )
    looks = [f"{failed} slices have no wavelength solution."] if failed else []
    for one in solved:
        odd = np.flatnonzero((one.rms > MOST_RMS) | (one.lines < FEWEST_LINES))
        if odd.size > MOST_NAMED:
            looks.append(
                f"IFU {one.ifu}: {odd.size} slices with rms up to {np.nanmax(one.rms[odd]):.3f} Å and "
                f"{np.nanmin(one.lines[odd]):.0f} lines or more (usual: below {MOST_RMS} Å with "
                f"{FEWEST_LINES} or more)."
            )
            continue
        for s in odd:
            looks.append(
                f"IFU {one.ifu}, slice {s + 1}: rms {one.rms[s]:.3f} Å with {one.lines[s]:.0f} lines "
                f"(usual: below {MOST_RMS} Å with {FEWEST_LINES} or more)."
            )
    sections = [Section("Slices", (slices_picture(solved), *ifu_table(solved)))]
    if files.get("WAVECAL_RESIDUALS"):
        sections.append(Section("Residuals", tuple(residual_pictures(files["WAVECAL_RESIDUALS"][0]))))
        if files.get("ARC_RED_LAMP"):
            first = files["WAVECAL_RESIDUALS"][0]
            own = [path for path in files["ARC_RED_LAMP"] if path.stem[-3:] == first.stem[-3:]]
            spectra = spectra_picture(own or files["ARC_RED_LAMP"], first)
            sections.append(Section("Lamps", (spectra,)))
    flags = [text for path in files["WAVECAL_TABLE"] for text in not_done(read_header(path))]
    return Page(verdict, [*looks, *dict.fromkeys(flags)], facts(header), sections)


def read_solved(path: Path) -> Iterator[Solved]:
    """Read the quality keywords of the IFUs of one file, merged or not."""
    with open_fits(path) as hdus:
        for hdu in hdus[1:]:
            name = hdu.name if hdu.name.startswith("CHAN") else str(hdus[0].header.get("EXTNAME", ""))
            header = hdu.header if f"{QC} SLICE{MIDDLE} LINES NDET" in hdu.header else hdus[0].header
            if not name.startswith("CHAN"):
                continue
            keys = ("FIT RMS", "RESOL", "LINES FWHM MEAN", "FIT NLINES", "LINES NID")
            columns = [
                np.array([float(header.get(f"{QC} SLICE{s} {key}", np.nan)) for s in range(1, 49)])
                for key in keys
            ]
            yield Solved(int(name[4:6]), *columns)


def slices_picture(solved: list[Solved]) -> Picture:
    """Draw rms, resolution and width of the lines against the slice; all IFUs over each other."""
    figure, axes = new_figure(10.0, 5.4, rows=3)
    number = np.arange(1, 49)
    for one in solved:
        label = f"IFU {one.ifu}"
        for place, values in zip(axes, (one.rms, one.resolution, one.fwhm), strict=True):
            place.plot(
                number, values, "o-", ms=2.5, lw=0.8, label=label, color=None if len(solved) > 1 else BLUE
            )
    for place, text in zip(axes, ("rms [Å]", "resolution", "FWHM [Å]"), strict=True):
        place.set_ylabel(text)
    axes[-1].set_xlabel("slice")
    names = {f"IFU {one.ifu}": one.rms for one in solved}
    hover = hover_lines(figure, axes[0], number.astype(float), names, unit="", first="slice")
    text = "rms of the solution, resolution and line width of each slice"
    return picture(figure, text, vector=len(solved) < 4, hover=hover)


def ifu_table(solved: list[Solved]) -> list:
    """Numbers of the IFUs."""
    head = ("IFU", "slices", "rms median [Å]", "rms largest [Å]", "lines in the fit", "resolution")
    rows = []
    for one in solved:
        good = np.isfinite(one.rms)
        if not good.any():
            continue
        ends = f"{np.nanmin(one.lines):.0f} to {np.nanmax(one.lines):.0f}"
        rows.append(
            (one.ifu, int(good.sum()), f"{np.nanmedian(one.rms):.4f}", f"{np.nanmax(one.rms):.4f}", ends,
             f"{np.nanmean(one.resolution):.0f}")
        )  # fmt: skip
    marked = [i for i, row in enumerate(rows) if row[1] < 48]
    return [table(head, rows, marked)]


def _final(path: Path) -> np.ndarray:
    """Rows of the final fit of each slice."""
    with open_fits(path) as hdus:
        rows = np.array(hdus[1].data)
    last = np.zeros(49, int)
    np.maximum.at(last, rows["slice"], rows["iteration"])
    return rows[rows["iteration"] == last[rows["slice"]]]


def residual_pictures(path: Path) -> Iterator[Picture]:
    """Draw residuals against wavelength, and the mean of each line in each slice as an image."""
    rows = _final(path)
    lam, off = rows["lambda"].astype(float), rows["residual"].astype(float)
    lines = np.unique(lam)
    figure, axes = new_figure(10.0, 3.6)
    axes.plot(lam, off, ".", ms=1.2, color=GREY, rasterized=True)
    mean = np.array([off[lam == line].mean() for line in lines])
    axes.plot(lines, mean, "o", ms=3, color=ORANGE)
    axes.set(xlabel="wavelength [Å]", ylabel="residual [Å]")
    hover = hover_lines(figure, axes, lines, {"mean residual": mean})
    yield picture(
        figure, "residuals of all places against wavelength", "Orange: mean of a line.", hover=hover
    )
    image = np.full((48, lines.size), np.nan)
    place = np.searchsorted(lines, lam)
    total, count = np.zeros(image.shape), np.zeros(image.shape)
    np.add.at(total, (rows["slice"] - 1, place), off)
    np.add.at(count, (rows["slice"] - 1, place), 1)
    image[count > 0] = total[count > 0] / count[count > 0]
    limit = max(float(np.nanpercentile(np.abs(image), 98)), 1e-4)
    figure, axes = new_figure(10.0, 4.6)
    shown = axes.imshow(
        image, origin="lower", aspect="auto", cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest",
        extent=(0.5, lines.size + 0.5, 0.5, 48.5),
    )  # fmt: skip
    figure.colorbar(shown, ax=axes, label="mean residual [Å]")
    axes.set(xlabel="line, from blue to red", ylabel="slice")
    yield picture(figure, "mean residual of each line in each slice")


def spectra_picture(images: list[Path], residuals: Path) -> Picture:
    """Draw the spectrum of each lamp in the middle of one slice, with the lines of its solution."""
    rows = _final(residuals)
    rows = rows[rows["slice"] == MIDDLE]
    column = int(np.median(rows["x"])) if rows.size else 1
    near = rows[np.abs(rows["x"] - column) <= 1]
    figure, axes = new_figure(10.0, 1.9 * len(images) + 0.6, rows=len(images))
    for place, path in zip(np.atleast_1d(axes), images, strict=True):
        with open_fits(path) as hdus:
            data = next(hdu.data for hdu in hdus[1:] if hdu.name.endswith("DATA"))
            spectrum = np.array(data[:, column - 1], float)
        place.plot(np.arange(1, spectrum.size + 1), np.maximum(spectrum, 1.0), lw=0.6, color=BLUE)
        lines = np.unique(near["lambda"])
        for lam in lines:
            y = float(near["y"][near["lambda"] == lam].mean())
            low, high = max(int(y) - 4, 0), int(y) + 4
            part = spectrum[low:high]
            if part.size and part.max() > 5 * max(float(np.median(spectrum)), 1.0):
                place.axvline(y, color=ORANGE, lw=0.5, zorder=0)
                if lines.size <= LABELS or part.max() > 20 * max(float(np.median(spectrum)), 1.0):
                    place.text(y, spectrum.max(), f"{lam:.0f}", rotation=90, fontsize=5, va="top", ha="right")
        place.set(yscale="log", ylabel=f"{path.stem[:17]}\n[count]")
    np.atleast_1d(axes)[-1].set_xlabel("row [pixel]")
    text = f"spectra of the lamps in column {column} (slice {MIDDLE}) with the lines of the solution"
    return picture(figure, text, "Orange: lines of the solution that this lamp shows.")
