# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_twilight: white image, smooth fit, vignetting correction, residual, IFU table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.slices import N_IFU
from muse_core.framework.fits_file import open_fits, read_header
from muse_core.report.makers import Files, facts, not_done
from muse_core.report.page import BLUE, GREY, INK, Page, Section, Table, picture, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from muse_core.twilight.model import TwilightModel
    from muse_core.twilight.prepare import PreparedIfu
    from muse_core.twilight.steps import SkyFlat
    from muse_core.twilight.stored_cube import StoredSkyCube

Image = npt.NDArray[np.float32]
RESIDUAL_RANGES = (0.003, 0.01, 0.03)
CAPTION = (
    "White: mean of the sky flat along wavelength over its mean. Red and blue: the residual around one. The "
    "numbers at the left are the IFUs, each of which is a stripe along x."
)


def twilight_figure(
    white: Image,
    global_fit: Image,
    ratio: Image,
    correction: Image | None,
    corrected: Image,
    bad: npt.NDArray[np.bool_],
    fluxes: dict[int, float],
) -> Figure:
    """Draw the steps from the white image to the residual.

    Parameters
    ----------
    white, global_fit, ratio, corrected : float32[ny, nx]
    correction : float32[ny, nx] or None
        Vignetting correction.
    bad : bool[ny, nx]
        Not illuminated.
    fluxes : dict of int to float
        Integrated flux per IFU.

    Returns
    -------
    Figure
        The numbers at the left edge of the images are those of the IFUs.
    """
    from matplotlib.figure import Figure

    columns = 2 if correction is None else 3
    figure = Figure(figsize=(10, 9.0 if columns == 2 else 6.8), layout="constrained")
    axes = list(figure.subplots(2, columns).flat)
    mean = np.nanmean(white[~bad])
    largest = float(np.nanpercentile(np.abs(np.where(bad, np.nan, ratio) - 1.0), 99))
    width = next((width for width in RESIDUAL_RANGES if width >= largest), RESIDUAL_RANGES[-1])
    span = (1 - width, 1 + width)
    scale = tuple(np.nanpercentile((white / mean)[~bad], (1, 99)))
    panels: list[tuple[Image | None, str, str, tuple[float, float] | None]] = [
        (white / mean, "white image over its mean", "viridis", scale),
        (np.where(bad, np.nan, global_fit), "smooth fit, mean of planes", "viridis", scale),
        (np.where(bad, np.nan, ratio), "white image over fit", "RdBu_r", span),
    ]
    if correction is not None:
        panels.append((correction, "vignetting correction", "magma", None))
        panels.append((np.where(bad, np.nan, corrected), "after the correction", "RdBu_r", span))
    for axis, (image, title, colours, limits) in zip(axes, panels, strict=False):
        low, high = limits or (None, None)
        drawn = axis.imshow(image, origin="lower", cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="x [spaxel]", ylabel="y [spaxel]")
        axis.tick_params(labelsize=8)
        _mark_ifus(axis, white.shape[0], len(fluxes), list(fluxes))
        figure.colorbar(drawn, ax=axis, shrink=0.8).ax.tick_params(labelsize=8)
    rest = axes[len(panels) :]
    for axis in rest[1:]:
        axis.set_axis_off()
    values = np.array(list(fluxes.values()))
    rest[0].axhline(0.0, color=GREY, lw=0.8)
    rest[0].vlines(list(fluxes), 0.0, 100.0 * (values / values.mean() - 1.0), color=BLUE, lw=1.2)
    rest[0].plot(list(fluxes), 100.0 * (values / values.mean() - 1.0), "o", color=BLUE, ms=5)
    rest[0].set_title("flux of each IFU", fontsize=10)
    rest[0].set(xlabel="IFU", ylabel="difference from the mean [%]")
    return figure


def _mark_ifus(axis: Axes, ny: int, count: int, ifus: list[int]) -> None:
    """Mark the IFUs, which lie above each other in a cube of sky flats."""
    if not 1 < count <= N_IFU or ny < 4 * count:
        return
    edge = axis.transAxes
    for k in range(1, count):
        axis.plot((-0.02, 0.0), (k / count, k / count), color=INK, lw=0.8, clip_on=False, transform=edge)
    box = {"fc": "w", "ec": "none", "alpha": 0.7, "pad": 0.8}
    for k in range(0, count, max(1, count // 8)):
        place = (k + 0.5) / count
        axis.text(0.015, place, str(ifus[k]), transform=edge, fontsize=7, color=INK, va="center", bbox=box)


def figure_from_products(datacube: Path, twilight_cube: Path) -> Figure:
    """`twilight_figure` of the two products of the recipe."""
    with open_fits(Path(datacube)) as sky, open_fits(Path(twilight_cube)) as model:
        head = sky[0].header
        fluxes = {
            i: head[f"ESO DRS MUSE FLAT FLUX SKY{i}"]
            for i in range(1, 25)
            if f"ESO DRS MUSE FLAT FLUX SKY{i}" in head
        }
        names = [h.name.lower() for h in model]
        ratio = model["white_div_global"].data
        return twilight_figure(
            sky["white"].data,
            model["white_global_fit"].data,
            ratio,
            model["vign_fit"].data if "vign_fit" in names else None,
            model["white_cor"].data if "white_cor" in names else ratio,
            model["white_div_global_DQ"].data != 0,
            fluxes,
        )


def _ifu_table(ifus: dict[int, PreparedIfu], fluxes: dict[int, float], failed: dict[int, str]) -> Table:
    reference = next(iter(fluxes.values()))
    rows: list[tuple[str, ...]] = []
    for ifu, part in ifus.items():
        spread = f"{part.illum.factors.std():.4f}" if part.illum is not None else "-"
        rows.append(
            (str(ifu), f"{fluxes[ifu]:.6g}", f"{fluxes[ifu] / reference:.4f}", str(part.stored.rows), spread)
        )
    rows += [(str(ifu), f"not used: {reason}", "", "", "") for ifu, reason in sorted(failed.items())]
    head = ("IFU", "flux [count]", "relative to the first", "rows", "slices, rms of ILLUM")
    return table(head, rows, range(len(ifus), len(rows)))


def _model_figure(model: TwilightModel, fluxes: dict[int, float]) -> Figure:
    edge = model.vignetting
    correction = None if edge is None else edge.correction
    return twilight_figure(
        model.white, model.global_fit, model.ratio, correction, model.corrected, ~model.good, fluxes
    )


def twilight_page(sky: SkyFlat, model: TwilightModel, failed: dict[int, str]) -> Page:
    """Describe the quality page.

    Parameters
    ----------
    sky : SkyFlat
    model : TwilightModel
    failed : dict of int to str
        IFUs that could not be used and why.
    """
    figure = _model_figure(model, sky.fluxes)
    residual = model.corrected[model.good]
    size = " x ".join(map(str, sky.cube.data.shape[::-1]))
    verdict = f"Residual of the illuminated field: rms {100 * np.nanstd(residual):.2f} %."
    looks = [f"IFU {ifu} was not used: {reason}" for ifu, reason in sorted(failed.items())]
    facts = [("cube", f"{len(sky.ifus)} IFUs, {size}"), ("cosmic rays", str(sky.cube.rejected))]
    return Page(
        verdict,
        looks,
        facts,
        [
            Section("Illumination", (picture(figure, "white image, fit, vignetting, residual", CAPTION),)),
            Section("IFUs", (_ifu_table(sky.ifus, sky.fluxes, failed),)),
        ],
    )


def stored_page(stored: StoredSkyCube, model: TwilightModel) -> Page:
    """Describe the page of a model that was made from a stored cube (parameter ``skip``)."""
    keys = {ifu: f"ESO DRS MUSE FLAT FLUX SKY{ifu}" for ifu in range(1, 25)}
    fluxes = {ifu: float(stored.header[key]) for ifu, key in keys.items() if key in stored.header}
    figure = _model_figure(model, fluxes)
    residual = 100 * np.nanstd(model.corrected[model.good])
    verdict = f"Model of a stored cube. Residual of the illuminated field: rms {residual:.2f} %."
    part = picture(figure, "white image, fit, vignetting, residual")
    return Page(verdict, sections=[Section("Illumination", (part,))])


def page_of_files(files: Files) -> Page:
    """Describe the page of products, also those of the C pipeline."""
    sky, model = files["DATACUBE_SKYFLAT"][0], files["TWILIGHT_CUBE"][0]
    header = read_header(sky)
    with open_fits(model) as hdus:
        names = {hdu.name.lower() for hdu in hdus}
        residual = hdus["white_cor" if "white_cor" in names else "white_div_global"].data
        good = hdus["white_div_global_DQ"].data == 0
        rms = 100.0 * float(np.nanstd(residual[good]))
    part = picture(figure_from_products(sky, model), "white image, fit, vignetting, residual", CAPTION)
    verdict = f"Sky flat and its model. Residual of the illuminated field: rms {rms:.2f} %."
    return Page(verdict, not_done(header), facts(header), [Section("Illumination", (part,))])
