# SPDX-License-Identifier: BSD-3-Clause
"""Plots of the fits; matplotlib is loaded when one is wanted."""

from __future__ import annotations

import numpy as np

from .images import unit_text
from .outputs import full_modulus, output_prefix

__all__ = ["plot_image_fit", "plot_star_fit"]

DPI = 600


def _figure(fig, display, size):
    """The figure to draw in, and whether pyplot manages it."""
    if fig is not None:
        fig.clear()
        return fig, False
    if display:
        from matplotlib import pyplot as plt

        return plt.figure(figsize=size), True
    from matplotlib.figure import Figure

    return Figure(figsize=size), False


def _finish(fig, managed, nowait, hardcopy, path):
    """Write the file, show the window; return the path written."""
    written = None
    if hardcopy not in (None, "", "none"):
        written = f"{path}.{str(hardcopy).lstrip('.')}"
        from .errors import UserError

        try:
            fig.savefig(written, dpi=DPI)
        except ValueError as err:
            raise UserError(f"The plot cannot be written in the format {hardcopy} ({err})") from err
    if managed:
        from matplotlib import pyplot as plt

        plt.show(block=not nowait)
        if not nowait:
            plt.close(fig)
    return written


def plot_image_fit(result, muse, pictures, display=False, nowait=False, hardcopy=None, title=None, fig=None):
    """MUSE image, model and difference, and below them the moduli of their transforms.

    Returns
    -------
    str or None
        the file written
    """
    fig, managed = _figure(fig, display, (11.0, 7.5))
    fig.suptitle(title or f"HST image photometry fit of {result.name}")
    used = pictures["used"]
    difference = pictures["muse"] - pictures["model"]
    values = pictures["muse"][used]
    low, high = np.percentile(values, [2.0, 99.5])
    spread = max(float(np.percentile(np.abs(difference[used]), 99.5)), 1e-30)
    planes = (pictures["muse"], pictures["model"], difference)
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
    shape = pictures["padded_shape"]
    halves = (pictures["muse_fft"], pictures["model_fft"], pictures["muse_fft"] - pictures["model_fft"])
    moduli = [np.log10(np.maximum(full_modulus(half, shape), 1e-3)) for half in halves]
    top = max(float(moduli[0].max()), -2.0)
    for i, (modulus, name) in enumerate(zip(moduli, names, strict=True)):
        axes = fig.add_subplot(2, 3, i + 4)
        drawn = axes.imshow(modulus, origin="lower", vmin=top - 4.0, vmax=top, cmap="magma")
        axes.set_title(f"FFT of {name}")
        fig.colorbar(drawn, ax=axes, shrink=0.75, label="log modulus")
    values = ", ".join(
        f"{n}={getattr(result, n).value:.4f}" for n in ("scale", "bg", "dx", "dy", "fwhm", "beta")
    )
    fig.text(0.5, 0.01, values, ha="center", fontsize=8)
    fig.subplots_adjust(left=0.05, right=0.97, bottom=0.07, top=0.9, wspace=0.25, hspace=0.2)
    return _finish(fig, managed, nowait, hardcopy, f"{output_prefix(muse)}_image_fit")


def plot_star_fit(result, muse, profile, display=False, nowait=False, hardcopy=None, title=None, fig=None):
    """Radial profiles of the star with their models above, residuals below; MUSE left, HST right."""
    fig, managed = _figure(fig, display, (9.0, 7.0))
    fig.suptitle(title or f"HST star photometry fit of {result.name}")
    for column, which in enumerate(("muse", "hst")):
        dx, dy = getattr(result, f"{which}_dx").value, getattr(result, f"{which}_dy").value
        radius = np.hypot(profile["x"] - dx, profile["y"] - dy)
        order = np.argsort(radius)
        values, model = profile[which][order], profile[f"{which}_model"][order]
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
    return _finish(fig, managed, nowait, hardcopy, f"{output_prefix(muse)}_star_fit")
