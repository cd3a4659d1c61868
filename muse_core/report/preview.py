# SPDX-License-Identifier: BSD-3-Clause
"""One picture of an observation: white-light image, colour composite, one object's spectrum above the sky's.

Made from the products of muse_scipost (cube, field images, sky spectrum); nothing is reduced here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.framework.fits_file import open_fits, read_header

INK, PAPER, ACCENT, SKY = "#e8e6e1", "#12141a", "#ffb454", "#7fb4d6"


@dataclass(frozen=True)
class FieldImage:
    """A field image: values [ny, nx] (NaN where empty), filter name, pixel size [arcsec]."""

    values: np.ndarray
    name: str
    step: float


def read_field_image(path: Path | str) -> FieldImage:
    """Read an IMAGE_FOV product."""
    with open_fits(Path(path)) as hdus:
        hdu = hdus["DATA"] if "DATA" in hdus else next(h for h in hdus if h.data is not None)
        values = np.array(hdu.data, float)
        step = abs(hdu.header.get("CD2_2", 0.2 / 3600)) * 3600
        if hdu.header.get("CTYPE1", "").strip() == "PIXEL":
            step = 0.2
        name = hdus[0].header.get("ESO DRS MUSE FILTER NAME", "white")
    return FieldImage(values, str(name), float(step))


def background_and_noise(image: np.ndarray) -> tuple[float, float]:
    """Median and robust scatter of the finite pixels, sources clipped."""
    good = image[np.isfinite(image)]
    if not good.size:
        return 0.0, 1.0
    for _ in range(8):
        middle = np.median(good)
        scatter = 1.4826 * np.median(np.abs(good - middle))
        kept = good[np.abs(good - middle) <= 3 * scatter]
        if scatter == 0 or kept.size == good.size:
            break
        good = kept
    return float(np.median(good)), float(max(1.4826 * np.median(np.abs(good - np.median(good))), 1e-12))


def bright_level(image: np.ndarray) -> float:
    """Where the scale ends, in units of the noise: the brightest objects just saturate."""
    middle, noise = background_and_noise(image)
    return (
        float(max(40.0, np.nanpercentile((image - middle) / noise, 99.85)))
        if np.isfinite(image).any()
        else 40.0
    )


def stretch(
    image: np.ndarray, low: float = -1.5, high: float | None = None, softness: float = 5.0
) -> np.ndarray:
    """Scale an image in units of its noise to 0..1: linear for faint, logarithmic for bright light (asinh).

    Examples
    --------
    >>> flat = np.random.default_rng(1).normal(0, 1, (50, 50))
    >>> bool(0 <= stretch(flat).min() and stretch(flat).max() < 0.4)
    True
    """
    middle, noise = background_and_noise(image)
    high = bright_level(image) if high is None else high
    with np.errstate(invalid="ignore"):
        u = (np.arcsinh((image - middle) / noise / softness) - np.arcsinh(low / softness)) / (
            np.arcsinh(high / softness) - np.arcsinh(low / softness)
        )
    return np.clip(np.nan_to_num(u), 0, 1)


def colour_composite(
    red: np.ndarray,
    green: np.ndarray,
    blue: np.ndarray,
    saturation: float = 1.2,
    brightest: float | None = None,
) -> np.ndarray:
    """RGB image [ny, nx, 3] of three images: the total is stretched, colours are kept (Lupton 2004)."""
    planes = [red, green, blue]
    levels = [background_and_noise(image) for image in planes]
    noise = float(np.mean([n for _, n in levels]))  # one scale: an object of flat spectrum is white
    cube = np.stack(
        [np.nan_to_num((p - m) / noise) for p, (m, _) in zip(planes, levels, strict=True)], axis=-1
    )
    total = np.clip(cube.mean(axis=-1), 1e-6, None)
    if brightest is None:
        brightest = max(30.0, float(np.percentile(total, 99.8)))
    soft = 4.0
    level = np.arcsinh(np.clip(total - 0.6, 0, None) / soft) / np.arcsinh(brightest / soft)
    colour = np.clip(cube, 0, None) / total[..., None]
    # colours of the noise are meaningless: fade to grey where there is no signal
    trust = np.clip((total - 1.0) / 4.0, 0, 1)[..., None]
    grey = colour.mean(axis=-1, keepdims=True)
    colour = trust * np.clip(grey + saturation * (colour - grey), 0, None) + (1 - trust)
    rgb = colour * level[..., None]
    peak = rgb.max(axis=-1, keepdims=True)
    return np.clip(np.where(peak > 1, rgb / np.maximum(peak, 1), rgb), 0, 1)


def brightest_object(image: np.ndarray, margin: int = 8) -> tuple[int, int]:
    """Pixel (ix, iy) of the brightest smoothed peak away from the border."""
    from scipy.ndimage import uniform_filter

    middle, _ = background_and_noise(image)
    smooth = uniform_filter(np.nan_to_num(image - middle), 5)
    margin = min(margin, min(image.shape) // 4)
    inner = np.full(image.shape, -np.inf)
    window = np.s_[margin : image.shape[0] - margin, margin : image.shape[1] - margin]
    inner[window] = smooth[window]
    iy, ix = np.unravel_index(np.argmax(inner), image.shape)
    return int(ix), int(iy)


def brightest_objects(image: np.ndarray, count: int = 3, apart: int = 10) -> list[tuple[int, int]]:
    """Pixels (ix, iy) of the brightest smoothed peaks, at least `apart` pixels from each other.

    >>> image = np.random.default_rng(1).normal(0.0, 0.01, (60, 60))
    >>> image[20:23, 30:33] = 5.0
    >>> image[40:43, 15:18] = 3.0
    >>> brightest_objects(image)
    [(31, 21), (16, 41)]
    """
    from scipy.ndimage import maximum_filter, uniform_filter

    middle, noise = background_and_noise(image)
    smooth = uniform_filter(np.nan_to_num(image - middle), 3)
    margin = min(4, min(image.shape) // 4)
    inner = np.full(image.shape, -np.inf)
    window = np.s_[margin : image.shape[0] - margin, margin : image.shape[1] - margin]
    inner[window] = smooth[window]
    peaks = (inner == maximum_filter(inner, 5)) & (inner > 5.0 * noise)
    order = sorted(zip(*np.nonzero(peaks)), key=lambda place: -inner[place])
    found: list[tuple[int, int]] = []
    for iy, ix in order:
        if all(np.hypot(ix - x, iy - y) >= apart for x, y in found):
            found.append((int(ix), int(iy)))
        if len(found) == count:
            break
    return found


def aperture_spectrum(
    cube: Path | str, centre: tuple[int, int], radius: float = 5.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelength [A], summed flux in a round aperture and its error; planes without data are NaN.

    Voxels without a value count with the mean of the others; where half of them have none the sum is NaN.

    Only the planes of the aperture's box are read.
    """
    with open_fits(Path(cube), memmap=True) as hdus:
        header = hdus["DATA"].header
        nz, ny, nx = hdus["DATA"].shape
        x0, x1 = max(0, int(centre[0] - radius)), min(nx, int(centre[0] + radius) + 2)
        y0, y1 = max(0, int(centre[1] - radius)), min(ny, int(centre[1] + radius) + 2)
        data = np.array(hdus["DATA"].section[:, y0:y1, x0:x1], float)
        stat = (
            np.array(hdus["STAT"].section[:, y0:y1, x0:x1], float)
            if "STAT" in hdus
            else np.full_like(data, np.nan)
        )
    wave = wavelengths(header, nz)
    yy, xx = np.mgrid[y0:y1, x0:x1]
    inside = np.hypot(xx - centre[0], yy - centre[1]) <= radius
    data[:, ~inside] = np.nan
    stat[:, ~inside] = np.nan
    filled = np.isfinite(data).sum(axis=(1, 2))
    with np.errstate(divide="ignore"):
        whole = np.where(filled > 0.5 * inside.sum(), inside.sum() / filled, np.nan)
    return wave, whole * np.nansum(data, axis=(1, 2)), whole * np.sqrt(np.nansum(stat, axis=(1, 2)))


def wavelengths(header: fits.Header, planes: int) -> np.ndarray:
    """Return the wavelengths of the planes of a cube [A], on a linear or logarithmic axis.

    >>> cards = {"CRVAL3": 5000.0, "CRPIX3": 1.0, "CD3_3": 1.25, "CTYPE3": "AWAV"}
    >>> wavelengths(fits.Header(cards), 3).tolist()
    [5000.0, 5001.25, 5002.5]
    """
    step = float(header.get("CD3_3", header.get("CDELT3", 1.0)))
    offset = (np.arange(planes) + 1.0 - float(header.get("CRPIX3", 1.0))) * step
    start = float(header.get("CRVAL3", 0.0))
    if str(header.get("CTYPE3", "")).strip().endswith("-LOG"):
        return np.asarray(start * np.exp(offset / start), np.float64)
    return np.asarray(start + offset, np.float64)


def make_preview(
    output: Path | str,
    *,
    cube: Path | str,
    white: Path | str,
    bands: Sequence[Path | str] = (),
    sky_spectrum: Path | str | None = None,
    centre: tuple[int, int] | None = None,
    title: str | None = None,
) -> Path:
    """Draw the picture and write it (PNG, PDF, ... after the suffix of `output`).

    Parameters
    ----------
    cube : DATACUBE_FINAL
    white : IMAGE_FOV of the white filter
    bands : three IMAGE_FOV for red, green and blue of the colour composite; without them it is left out
    sky_spectrum : SKY_SPECTRUM
    centre : pixel (ix, iy) of the object to show, default the brightest
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    field = read_field_image(white)
    centre = brightest_object(field.values) if centre is None else centre
    radius = 1.2 / field.step
    figure = Figure(figsize=(13.3, 11.2 if bands else 10.0), facecolor=PAPER)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        3,
        2,
        height_ratios=(3.45, 1.2, 0.85),
        left=0.085,
        right=0.985,
        top=0.93,
        bottom=0.06,
        hspace=0.12,
        wspace=0.03,
    )
    left = figure.add_subplot(grid[0, 0] if bands else grid[0, :])
    left.imshow(
        1 - stretch(field.values), origin="lower", cmap="gray", interpolation="nearest", vmin=0, vmax=1
    )
    _dress(left, field, "white light", dark=False)
    panels = [left]
    if bands:
        images = [read_field_image(b) for b in bands]
        right = figure.add_subplot(grid[0, 1])
        red, green, blue = (i.values for i in images)
        right.imshow(colour_composite(red, green, blue), origin="lower", interpolation="nearest")
        _dress(right, field, "", dark=True)
        for k, (image, ink) in enumerate(zip(images, ("#ff7a6b", "#7fdc7a", "#7aa8ff"), strict=True)):
            right.text(
                0.03,
                0.965 - 0.05 * k,
                image.name,
                transform=right.transAxes,
                color=ink,
                va="top",
                fontsize=13,
            )
        panels.append(right)
    for panel in panels:
        panel.add_patch(Circle(centre, radius, fill=False, ec=ACCENT if panel is left else INK, lw=1.6))
    spectrum = figure.add_subplot(grid[1, :])
    _draw_object(spectrum, cube, centre, radius, field.step)
    if sky_spectrum is not None:
        below = figure.add_subplot(grid[2, :], sharex=spectrum)
        _draw_sky(below, sky_spectrum)
        spectrum.tick_params(labelbottom=False)
    else:
        below = spectrum
    below.set_xlabel("wavelength in air [Å]", color=INK, fontsize=13)
    figure.suptitle(title or _object_name(cube), color=INK, fontsize=18, x=0.085, ha="left", y=0.975)
    output = Path(output)
    temporary = output.with_name(f".{output.stem}.part{output.suffix}")
    figure.savefig(temporary, dpi=110, facecolor=PAPER)
    temporary.replace(output)
    return output


def _object_name(path: Path | str) -> str:
    header = read_header(Path(path))
    parts = (header.get("OBJECT", ""), header.get("ESO INS MODE", ""), str(header.get("DATE-OBS", ""))[:10])
    return "   ".join(str(p) for p in parts)


def _dress(axes: Any, field: FieldImage, label: str, dark: bool) -> None:
    """Take off the ticks; add the label, a scale bar and the compass of a north-up image."""
    ny, nx = field.values.shape
    ink = INK if dark else "#20242c"
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color("#3a3f4b")
    length = next((s for s in (20, 10, 5, 2, 1, 0.5, 0.2) if s / field.step < 0.3 * nx), 0.1)
    bar = length / field.step
    axes.plot([0.04 * nx, 0.04 * nx + bar], [0.05 * ny] * 2, color=ink, lw=2.5, solid_capstyle="butt")
    axes.text(
        0.04 * nx + bar / 2, 0.065 * ny, f"{length:g}″", color=ink, ha="center", va="bottom", fontsize=12
    )
    axes.text(0.03, 0.965, label, transform=axes.transAxes, color=ink, va="top", fontsize=13)
    x, y, arm = 0.95 * nx, 0.05 * ny, 0.09 * min(nx, ny)
    style = {"arrowprops": {"arrowstyle": "-|>", "color": ink, "lw": 1.3}, "color": ink, "fontsize": 11}
    axes.annotate("N", (x, y), (x, y + arm), ha="center", va="bottom", **_reversed(style))
    axes.annotate("E", (x, y), (x - arm, y), ha="right", va="center", **_reversed(style))
    axes.set_xlim(-0.5, nx - 0.5)
    axes.set_ylim(-0.5, ny - 0.5)


def _reversed(style: dict) -> dict:
    """Arrow heads at the letter, not at the corner."""
    arrow = dict(style["arrowprops"], arrowstyle="<|-", shrinkB=0, shrinkA=2)
    return {**style, "arrowprops": arrow}


def _paper(axes: Any) -> None:
    axes.set_facecolor("#181b22")
    axes.tick_params(colors=INK, labelsize=11, direction="in", top=True, right=True)
    axes.grid(color="#2a2f3a", lw=0.6)
    for side in axes.spines.values():
        side.set_color("#3a3f4b")


def _draw_object(axes: Any, cube: Any, centre: tuple[int, int], radius: float, step: float) -> None:
    _paper(axes)
    wave, flux, error = aperture_spectrum(cube, centre, radius)
    axes.fill_between(wave, flux - error, flux + error, color=ACCENT, alpha=0.25, lw=0, step="mid")
    axes.plot(wave, flux, color=ACCENT, lw=1.3, drawstyle="steps-mid")
    good = flux[np.isfinite(flux)]
    if good.size:
        span = np.ptp(good) or 1.0
        axes.set_ylim(min(0.0, good.min() - 0.05 * span), good.max() + 0.15 * span)
    axes.set_xlim(wave[0], wave[-1])
    axes.set_ylabel("flux\n[10$^{-20}$ erg/s/cm²/Å]", color=INK, fontsize=12)
    axes.text(
        0.012, 0.92, f"object, aperture of {2 * radius * step:.1f}″", transform=axes.transAxes, color=ACCENT,
        va="top", fontsize=13,
    )  # fmt: skip


def _draw_sky(axes: Any, path: Path | str) -> None:
    _paper(axes)
    with open_fits(Path(path)) as hdus:
        table = next(h for h in hdus if isinstance(h, fits.BinTableHDU)).data
        wave, data = np.array(table["lambda"], float), np.array(table["data"], float)
    axes.plot(wave, data, color=SKY, lw=1.0)
    axes.set_ylim(0, max(1e-3, np.nanmax(data)) * 1.15)
    axes.set_ylabel("per spaxel", color=INK, fontsize=12)
    axes.text(0.012, 0.9, "sky", transform=axes.transAxes, color=SKY, va="top", fontsize=13)
