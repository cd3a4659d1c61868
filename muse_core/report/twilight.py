# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_twilight: white image, smooth fit, vignetting correction, residual, IFU table."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.framework.fits_file import open_fits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from muse_core.twilight.model import TwilightModel
    from muse_core.twilight.prepare import PreparedIfu
    from muse_core.twilight.steps import SkyFlat

Image = npt.NDArray[np.float32]
STYLE = (
    "body{font-family:sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}"
    "td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd}"
    ".bad{background:#fdd}img{max-width:100%}"
)
RESIDUAL_RANGE = 0.03


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
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.2), layout="constrained")
    axes = figure.subplots(2, 3)
    mean = np.nanmean(white[~bad])
    width = RESIDUAL_RANGE
    panels = (
        (white / mean, "white image, normalised", "viridis", None),
        (np.where(bad, np.nan, global_fit), "smooth global fit (mean of planes)", "viridis", None),
        (np.where(bad, np.nan, ratio), "white / global fit", "RdBu_r", (1 - width, 1 + width)),
        (correction, "vignetting correction", "magma", None),
        (np.where(bad, np.nan, corrected), "residual after correction", "RdBu_r", (1 - width, 1 + width)),
    )
    scale = np.nanpercentile((white / mean)[~bad], (1, 99))
    for axis, (image, title, colours, limits) in zip(axes.flat, panels, strict=False):
        if image is None:
            axis.set_axis_off()
            axis.text(0.5, 0.5, "no vignetting correction", ha="center")
            continue
        low, high = limits or (scale if colours == "viridis" else (None, None))
        drawn = axis.imshow(image, origin="lower", cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(title)
        figure.colorbar(drawn, ax=axis, shrink=0.85)
    values = np.array(list(fluxes.values()))
    axes.flat[5].bar(list(fluxes), values / values.mean(), color="0.4")
    axes.flat[5].set(title="integrated flux per IFU / mean", xlabel="IFU")
    axes.flat[5].set_ylim(min(0.8, 0.95 * (values / values.mean()).min()), None)
    return figure


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


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=80)
    return f"<img src='data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}' alt='figure'>"


def _ifu_table(ifus: dict[int, PreparedIfu], fluxes: dict[int, float], failed: dict[int, str]) -> str:
    reference = next(iter(fluxes.values()))
    rows = [
        "<table><tr><th>IFU</th><th>flux</th><th>relative</th><th>rows</th><th>slices, rms of ILLUM</th></tr>"
    ]
    for ifu, part in ifus.items():
        spread = f"{part.illum.factors.std():.4f}" if part.illum is not None else "-"
        rows.append(
            f"<tr><td>{ifu}</td><td>{fluxes[ifu]:.6g}</td><td>{fluxes[ifu] / reference:.4f}</td>"
            f"<td>{part.stored.rows}</td><td>{spread}</td></tr>"
        )
    rows += [
        f"<tr class='bad'><td>{ifu}</td><td colspan='4'>not used: {escape(reason)}</td></tr>"
        for ifu, reason in sorted(failed.items())
    ]
    return "".join(rows) + "</table>"


def twilight_report(sky: SkyFlat, model: TwilightModel, failed: dict[int, str]) -> str:
    """Build the quality page as one self-contained HTML text.

    Parameters
    ----------
    sky : SkyFlat
    model : TwilightModel
    failed : dict of int to str
        IFUs that could not be used and why.
    """
    edge = model.vignetting
    figure = twilight_figure(
        model.white,
        model.global_fit,
        model.ratio,
        None if edge is None else edge.correction,
        model.corrected,
        ~model.good,
        sky.fluxes,
    )
    residual = model.corrected[model.good]
    text = (
        f"<p>{len(sky.ifus)} IFUs, cube of {' x '.join(map(str, sky.cube.data.shape[::-1]))}, "
        f"{sky.cube.rejected} cosmic rays. "
        f"Residual of the illuminated field: rms {np.nanstd(residual):.4f}.</p>"
    )
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>muse_twilight</title>"
        f"<style>{STYLE}</style></head><body><h1>muse_twilight</h1>{text}{_png(figure)}"
        f"<h2>IFUs</h2>{_ifu_table(sky.ifus, sky.fluxes, failed)}</body></html>"
    )
