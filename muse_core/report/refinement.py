# SPDX-License-Identifier: BSD-3-Clause
"""What sky_refine found in the slices of an exposure (SKY_REFINEMENT), as pictures of the instrument."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from muse_core.framework.fits_file import open_fits
from muse_core.report.page import Picture, Section, Table, new_figure, picture, table

PICTURES = (
    ("THROUGHPUT", 100.0, "error of the throughput [%]"),
    ("SHIFT", 1000.0, "error of the wavelengths [mÅ]"),
    ("WIDTH2", 1.0, "excess of the squared width of lines [Å²]"),
)
"""Extension of the product, factor to the unit that is shown, what it is."""
CAPTION = (
    "Slices along x, IFUs along y; white: nothing is taken out there, grey: no rows. Slices beside each "
    "other that agree have an error of their IFU; a slice that stands out has one of its own."
)


def refinement_section(path: Path) -> Section:
    """Describe a product SKY_REFINEMENT."""
    with open_fits(path) as hdus:
        images = {name: np.array(hdus[name].data, np.float64) for name, _, _ in PICTURES}
        rows = hdus["SLICES"].data
        columns = {
            name: np.array(rows[name]) for name in ("ifu", "columns", "from_ifu", "throughput", "shift")
        }
    pictures = tuple(_picture(images[name] * factor, what) for name, factor, what in PICTURES)
    return Section(f"Sky of the slices: {path.name}", (*pictures, CAPTION, _ifus(columns)))


def _picture(image: npt.NDArray[np.float64], what: str) -> Picture:
    figure, axes = new_figure(5.2, 3.2)
    seen = np.abs(image[np.isfinite(image)])
    reach = float(seen.max(initial=0.0)) or 1.0
    axes.set_facecolor("0.8")
    drawn = axes.imshow(
        image, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach,
        interpolation="nearest", extent=(0.5, image.shape[1] + 0.5, 0.5, image.shape[0] + 0.5),
    )  # fmt: skip
    axes.set(xlabel="slice", ylabel="IFU", title=what)
    figure.colorbar(drawn, ax=axes)
    return picture(figure, what, half=True)


def _ifus(columns: dict[str, npt.NDArray]) -> Table:
    lines = []
    for ifu in np.unique(columns["ifu"]):
        own = columns["ifu"] == ifu
        changed = (columns["throughput"][own] != 0.0) | (columns["shift"][own] != 0.0)
        rms = [float(np.sqrt(np.mean(columns[name][own] ** 2))) for name in ("throughput", "shift")]
        lines.append(
            (
                int(ifu), int(own.sum()), int(changed.sum()), int(columns["from_ifu"][own].sum()),
                int(np.median(columns["columns"][own])), f"{100.0 * rms[0]:.2f}", f"{1000.0 * rms[1]:.1f}",
            )
        )  # fmt: skip
    head = (
        "IFU", "slices", "changed", "as their IFU", "columns on sky", "throughput, rms [%]",
        "wavelength, rms [mÅ]",
    )  # fmt: skip
    return table(head, lines)
