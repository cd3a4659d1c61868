# SPDX-License-Identifier: BSD-3-Clause
"""Plots of the fits; matplotlib is loaded when one is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError
from imphot.fit_files import full_modulus, output_prefix
from imphot.images.sky_image import SkyImage, unit_text
from imphot.options import OutputOptions
from imphot.results import FitPictures, FittedImagePhotometry, FittedStarPhotometry

__all__ = ["plot_image_fit", "plot_star_fit"]

DPI = 600


@dataclass
class StarProfile:
    """Pixels around a star: offsets [arcsec], values and models in both images."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    muse: npt.NDArray[np.float64]
    hst: npt.NDArray[np.float64]
    muse_model: npt.NDArray[np.float64]
    hst_model: npt.NDArray[np.float64]


def _figure(wanted: OutputOptions, size: tuple[float, float]) -> tuple[Any, bool]:
    """The figure to draw in, and whether pyplot manages it."""
    if wanted.fig is not None:
        wanted.fig.clear()
        return wanted.fig, False
    if wanted.display:
        from matplotlib import pyplot as plt

        return plt.figure(figsize=size), True
    from matplotlib.figure import Figure

    return Figure(figsize=size), False


def _finish(fig: Any, managed: bool, wanted: OutputOptions, path: str) -> str | None:
    """Write the file, show the window; return the path written."""
    written = None
    if wanted.file_format:
        written = f"{path}.{wanted.file_format}"
        try:
            fig.savefig(written, dpi=DPI)
        except ValueError as err:
            raise UserError(f"The plot cannot be written in the format {wanted.file_format} ({err})") from err
    if managed:
        from matplotlib import pyplot as plt

        plt.show(block=not wanted.nowait)
        if not wanted.nowait:
            plt.close(fig)
    return written


def plot_image_fit(
    result: FittedImagePhotometry, muse: SkyImage, pictures: FitPictures, wanted: OutputOptions
) -> str | None:
    """MUSE image, model and difference, and below them the moduli of their transforms.

    Returns
    -------
    str or None
        the file written
    """
    fig, managed = _figure(wanted, (11.0, 7.5))
    fig.suptitle(wanted.title or f"HST image photometry fit of {result.name}")
    used = pictures.used
    difference = pictures.muse - pictures.model
    values = pictures.muse[used]
    low, high = np.percentile(values, [2.0, 99.5])
    spread = max(float(np.percentile(np.abs(difference[used]), 99.5)), 1e-30)
    planes = (pictures.muse, pictures.model, difference)
    limits = ((low, high), (low, high), (-spread, spread))
    names = ("MUSE image", "HST model", "MUSE - model")
    for i, (plane, (a, b), name) in enumerate(zip(planes, limits, names, strict=True)):
        axes = fig.add_subplot(2, 3, i + 1)
        drawn = axes.imshow(
            np.where(used, plane, np.nan),
            origin="lower",
            vmin=a,
            vmax=b,
            cmap="viridis" if i < 2 else "RdBu_r",
        )
        axes.set_title(name)
        axes.set_xlabel("pixel")
        bar = fig.colorbar(drawn, ax=axes, shrink=0.75)
        bar.set_label(unit_text(muse.unit) or "flux", fontsize=7)
    shape = pictures.padded_shape
    halves = (pictures.muse_fft, pictures.model_fft, pictures.muse_fft - pictures.model_fft)
    moduli = [np.log10(np.maximum(full_modulus(half, shape), 1e-3)) for half in halves]
    top = max(float(moduli[0].max()), -2.0)
    for i, (modulus, name) in enumerate(zip(moduli, names, strict=True)):
        axes = fig.add_subplot(2, 3, i + 4)
        drawn = axes.imshow(modulus, origin="lower", vmin=top - 4.0, vmax=top, cmap="magma")
        axes.set_title(f"FFT of {name}")
        fig.colorbar(drawn, ax=axes, shrink=0.75, label="log modulus")
    numbers = ", ".join(
        f"{n}={getattr(result, n).value:.4f}" for n in ("scale", "bg", "dx", "dy", "fwhm", "beta")
    )
    fig.text(0.5, 0.01, numbers, ha="center", fontsize=8)
    fig.subplots_adjust(left=0.05, right=0.97, bottom=0.07, top=0.9, wspace=0.25, hspace=0.2)
    return _finish(fig, managed, wanted, f"{output_prefix(muse)}_image_fit")


def plot_star_fit(
    result: FittedStarPhotometry, muse: SkyImage, profile: StarProfile, wanted: OutputOptions
) -> str | None:
    """Radial profiles of the star with their models above, residuals below; MUSE left, HST right."""
    fig, managed = _figure(wanted, (9.0, 7.0))
    fig.suptitle(wanted.title or f"HST star photometry fit of {result.name}")
    for column, which in enumerate(("muse", "hst")):
        dx, dy = getattr(result, f"{which}_dx").value, getattr(result, f"{which}_dy").value
        radius = np.hypot(profile.x - dx, profile.y - dy)
        order = np.argsort(radius)
        values, model = (getattr(profile, name)[order] for name in (which, f"{which}_model"))
        axes = fig.add_subplot(2, 2, column + 1)
        axes.plot(radius[order], values, ".", ms=3)
        axes.plot(radius[order], model, "-", lw=1)
        axes.set_title(
            f'{which.upper()}: FWHM {getattr(result, which + "_fwhm").value:.3f}" beta '
            f"{getattr(result, which + '_beta').value:.2f}"
        )
        axes.set_ylabel("flux per pixel")
        axes = fig.add_subplot(2, 2, column + 3)
        axes.plot(radius[order], values - model, ".", ms=3)
        axes.axhline(0.0, color="0.5", lw=0.8)
        axes.set_xlabel("radius [arcsec]")
        axes.set_ylabel("residual")
    fig.subplots_adjust(left=0.1, right=0.97, bottom=0.08, top=0.9, wspace=0.28, hspace=0.2)
    return _finish(fig, managed, wanted, f"{output_prefix(muse)}_star_fit")
