# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_lsf: width of the lines over slice and wavelength, and their profiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.arcs.profile_image import widths
from muse_core.framework.fits_file import open_fits, read_header
from muse_core.report.makers import Files, facts, not_done
from muse_core.report.page import (
    BLUE,
    GREY,
    ORANGE,
    Page,
    Picture,
    Section,
    Table,
    hover_image,
    new_figure,
    picture,
    table,
)

Floats = npt.NDArray[np.float64]
USUAL_FWHM = (2.0, 3.5)
"""Angstrom; beyond them the page asks for a look."""


@dataclass(frozen=True)
class Profiles:
    """The images of one IFU: float[48, wavelengths, offsets], their axes, widths (Angstrom, NaN if empty)."""

    ifu: int
    cube: Floats
    offsets: Floats
    wavelengths: Floats
    fwhm: Floats

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Slices that have a profile."""
        return np.asarray(np.isfinite(self.fwhm).any(axis=1), bool)


def page_of_files(files: Files) -> Page:
    """Describe the page of LSF_PROFILE."""
    found = sorted((one for path in files["LSF_PROFILE"] for one in read_profiles(path)), key=lambda p: p.ifu)
    header = read_header(files["LSF_PROFILE"][0])
    fwhm = np.concatenate([one.fwhm[one.seen] for one in found])
    good = fwhm[np.isfinite(fwhm)]
    verdict = (
        f"Line width {np.median(good):.2f} Å (FWHM, median) in {fwhm.shape[0]} slices." if good.size else ""
    )
    looks = []
    for one in found:
        missing = np.flatnonzero(~one.seen) + 1
        if missing.size:
            looks.append(f"IFU {one.ifu}: no profile of slice {', '.join(map(str, missing))}.")
        odd = (
            np.flatnonzero((one.fwhm < USUAL_FWHM[0]).any(axis=1) | (one.fwhm > USUAL_FWHM[1]).any(axis=1))
            + 1
        )
        if odd.size:
            text = ", ".join(map(str, odd[:10]))
            looks.append(f"IFU {one.ifu}: width beyond {USUAL_FWHM[0]} to {USUAL_FWHM[1]} Å in slice {text}.")
    sections = [
        Section("Width", tuple(width_picture(one) for one in found[:4])),
        Section("Profiles", (profile_picture(found[0]),)),
        Section("Numbers", (numbers(found),)),
    ]
    flags = [text for path in files["LSF_PROFILE"] for text in not_done(read_header(path))]
    return Page(verdict, [*looks, *dict.fromkeys(flags)], facts(header), sections)


def read_profiles(path: Path) -> Iterator[Profiles]:
    """Read the images of the IFUs of one file, merged or not."""
    with open_fits(path) as hdus:
        for hdu in hdus[1:]:
            name = hdu.name if hdu.name.startswith("CHAN") else str(hdus[0].header.get("EXTNAME", ""))
            if not name.startswith("CHAN") or hdu.data is None or hdu.data.ndim != 3:
                continue
            header, cube = hdu.header, np.array(hdu.data, float)
            offsets = header["CRVAL1"] + header["CD1_1"] * np.arange(cube.shape[2])
            wavelengths = header["CRVAL2"] + header["CD2_2"] * np.arange(cube.shape[1])
            fwhm = np.stack([widths(image, header["CD1_1"]) for image in cube])
            yield Profiles(int(name[4:6]), cube, offsets, wavelengths, fwhm)


def width_picture(one: Profiles) -> Picture:
    """Draw the width over wavelength and slice."""
    figure, axes = new_figure(10.0, 3.8)
    lam = one.wavelengths
    step = 0.5 * (lam[1] - lam[0])
    shown = axes.imshow(
        one.fwhm, origin="lower", aspect="auto", cmap="viridis", interpolation="nearest",
        extent=(lam[0] - step, lam[-1] + step, 0.5, 48.5),
    )  # fmt: skip
    figure.colorbar(shown, ax=axes, label="FWHM [Å]")
    axes.set(xlabel="wavelength [Å]", ylabel="slice", title=f"IFU {one.ifu}")
    hover = hover_image(figure, axes, one.fwhm, "FWHM [Å]")
    return picture(figure, f"line width of IFU {one.ifu} over wavelength and slice", hover=hover)


def profile_picture(one: Profiles) -> Picture:
    """Draw the profiles of all slices at three wavelengths."""
    places = [len(one.wavelengths) // 8, len(one.wavelengths) // 2, -len(one.wavelengths) // 8]
    figure, axes = new_figure(10.0, 3.4, columns=3, sharey=True)
    for place, k in zip(axes, places, strict=True):
        images = one.cube[one.seen][:, k]
        place.plot(one.offsets, images.T, color=GREY, lw=0.3)
        if images.size:
            place.plot(one.offsets, np.median(images, axis=0), color=ORANGE, lw=1.2)
        place.set(xlabel="offset [Å]", title=f"{one.wavelengths[k]:.0f} Å")
        place.axhline(0.0, color=BLUE, lw=0.4)
    axes[0].set_ylabel("profile [1/Å]")
    caption = f"IFU {one.ifu}. Grey: each slice; orange: their median."
    return picture(figure, "line profiles of all slices at three wavelengths", caption)


def numbers(found: list[Profiles]) -> Table:
    """Widths of the IFUs."""
    rows: list[tuple[Any, ...]] = []
    for one in found:
        good = one.fwhm[np.isfinite(one.fwhm)]
        if good.size:
            rows.append(
                (one.ifu, int(one.seen.sum()), *(f"{v:.3f}" for v in (good.mean(), good.min(), good.max())))
            )
    marked = [i for i, row in enumerate(rows) if row[1] < 48]
    return table(("IFU", "slices", "FWHM mean [Å]", "smallest [Å]", "largest [Å]"), rows, marked)
