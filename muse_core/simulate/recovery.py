# SPDX-License-Identifier: BSD-3-Clause
"""How much of the truth comes back: measurements on products of simulated observations.

The same functions measure the products of any recipe, so that two reductions of the same data can be
compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muse_core.framework.fits_file import open_fits
from muse_core.simulate.scene import GRID_SIZE, GRID_START, GRID_STEP, Star


@dataclass(frozen=True)
class StarRecovery:
    """Position error [arcsec east, north], measured over true flux, FWHM [arcsec]."""

    east: float
    north: float
    flux_ratio: float
    fwhm: float


def _open_cube(path: Path | str) -> Any:
    from astropy.wcs import WCS

    with open_fits(Path(path)) as hdus:
        data = np.array(hdus["DATA"].data, float)
        header = hdus["DATA"].header
    wave = header["CRVAL3"] + (np.arange(data.shape[0]) + 1 - header["CRPIX3"]) * header["CD3_3"]
    return data, wave, WCS(header).celestial


def recover_stars(cube: Path | str, stars: Sequence[dict], radius_arcsec: float = 2.0) -> list[StarRecovery]:
    """Fit a Moffat profile to every star of the truth in the mean image of the cube (NaN outside).

    Parameters
    ----------
    stars : `truth["stars"]` of a Simulation
    """
    from scipy.optimize import curve_fit

    data, wave, wcs = _open_cube(cube)
    usable = np.isfinite(data).sum(axis=0)
    image = np.where(usable > 0, np.nansum(data, axis=0) / np.maximum(usable, 1), np.nan)
    step = abs(wcs.wcs.cd[1, 1]) * 3600
    yy, xx = np.mgrid[: image.shape[0], : image.shape[1]]
    grid = GRID_START + GRID_STEP * np.arange(GRID_SIZE)

    def moffat(
        c: Any, peak: float, x0: float, y0: float, alpha: float, beta: float, level: float
    ) -> np.ndarray:
        return peak * (1 + ((c[0] - x0) ** 2 + (c[1] - y0) ** 2) / alpha**2) ** -beta + level

    found = []
    for star in stars:
        px, py = (float(v) for v in wcs.all_world2pix(star["ra"], star["dec"], 0))
        near = (np.hypot(xx - px, yy - py) < radius_arcsec / step) & np.isfinite(image)
        if near.sum() < 30:
            found.append(StarRecovery(*[float("nan")] * 4))
            continue
        start = [np.nanmax(image[near]), px, py, 3.0, 2.8, 0.0]
        fit, _ = curve_fit(moffat, (xx[near], yy[near]), image[near], p0=start, maxfev=5000)
        peak, x0, y0, alpha, beta, _ = fit
        flux = np.pi * alpha**2 / (beta - 1) * peak
        model = Star(star["xi"], star["eta"], star["flux"], star["temperature"]).spectrum()
        truth = np.interp(wave, grid, model).mean()
        fwhm = 2 * abs(alpha) * np.sqrt(2 ** (1 / beta) - 1) * step
        found.append(StarRecovery(-(x0 - px) * step, (y0 - py) * step, float(flux / truth), float(fwhm)))
    return found


def recover_line_flux(cube: Path | str, galaxy: dict, radius_arcsec: float = 4.0) -> float:
    """Line flux of a galaxy in a round aperture (continuum from both sides) over the true one."""
    data, wave, wcs = _open_cube(cube)
    step = abs(wcs.wcs.cd[1, 1]) * 3600
    px, py = (float(v) for v in wcs.all_world2pix(galaxy["ra"], galaxy["dec"], 0))
    yy, xx = np.mgrid[: data.shape[1], : data.shape[2]]
    aperture = np.hypot(xx - px, yy - py) < radius_arcsec / step
    spectrum = np.nansum(data[:, aperture], axis=1)
    away = np.abs(wave - galaxy["line_wavelength"])
    line, side = away < 14, (away > 18) & (away < 60)
    level = np.polyval(np.polyfit(wave[side], spectrum[side], 1), wave)
    return float((spectrum - level)[line].sum() * (wave[1] - wave[0]) / galaxy["line_flux"])


def centroid_drift(cube: Path | str, star: dict, radius_arcsec: float = 1.6) -> float:
    """Distance [arcsec] between the centres of a star in the bluest and the reddest fifth of the planes."""
    from scipy.optimize import curve_fit

    data, _, wcs = _open_cube(cube)
    step = abs(wcs.wcs.cd[1, 1]) * 3600
    px, py = (float(v) for v in wcs.all_world2pix(star["ra"], star["dec"], 0))
    yy, xx = np.mgrid[: data.shape[1], : data.shape[2]]
    near = np.hypot(xx - px, yy - py) < radius_arcsec / step

    def gauss(c: Any, peak: float, x0: float, y0: float, sigma: float, level: float) -> np.ndarray:
        return peak * np.exp(-0.5 * ((c[0] - x0) ** 2 + (c[1] - y0) ** 2) / sigma**2) + level

    fifth = max(1, data.shape[0] // 5)
    centres = []
    for part in (data[:fifth], data[-fifth:]):
        values = np.nanmean(part[:, near], axis=0)
        start = [np.nanmax(values), px, py, 2.0, 0.0]
        fit, _ = curve_fit(gauss, (xx[near], yy[near]), values, p0=start, maxfev=5000)
        centres.append(fit[1:3])
    return float(np.hypot(*(centres[1] - centres[0])) * step)


def sky_residual(table: Path | str, peak: float = 1.0, bright: Sequence[float] = ()) -> dict[str, float]:
    """Measure the residual sky in a source-free field, plane by plane of 1.25 A, from a PIXTABLE_REDUCED.

    Parameters
    ----------
    bright : wavelengths of bright lines; planes within 4 A of one count as "lines", the others as "between"
    peak : flux density of the sky at its brightest, for per cent

    Returns
    -------
    dict
        `lines`, `between`: rms over the planes of the mean residual [1e-20 per A] without the part that noise
        makes; `*_percent`: that in per cent of the peak; `*_scatter`: rms of (data / error) of the rows
    """
    with open_fits(Path(table)) as hdus:
        columns = {n: np.array(hdus[n].data).ravel().astype(float) for n in ("lambda", "data", "stat")}
        good = np.array(hdus["dq"].data).ravel() == 0
    lam, data, stat = (columns[n][good] for n in ("lambda", "data", "stat"))
    plane = np.floor((lam - lam.min()) / 1.25).astype(int)
    count = np.maximum(np.bincount(plane), 1)
    mean = np.bincount(plane, data) / count
    noise2 = np.bincount(plane, stat) / count**2
    z2 = np.bincount(plane, data**2 / stat) / count
    centre = lam.min() + 1.25 * (np.arange(count.size) + 0.5)
    full = count > 0.5 * np.median(count)
    near = np.zeros(count.size, bool)
    for wave in bright:
        near |= np.abs(centre - wave) < 4
    out: dict[str, float] = {}
    for name, part in (("lines", near & full), ("between", ~near & full)):
        if part.any():
            excess = max(float((mean[part] ** 2 - noise2[part]).mean()), 0.0)
            out[name] = excess**0.5
            out[f"{name}_percent"] = 100 * excess**0.5 / peak
            out[f"{name}_scatter"] = float(np.average(z2[part], weights=count[part]) ** 0.5)
    return out


def slice_pattern(table: Path | str) -> float:
    """Relative scatter of the mean level of the slices (robust), from a PIXTABLE of a field of pure sky."""
    with open_fits(Path(table)) as hdus:
        origin, data, dq = (np.array(hdus[n].data).ravel() for n in ("origin", "data", "dq"))
    key = (origin.astype(np.int64) & 0x7FF)[dq == 0]  # IFU and slice
    labels, index = np.unique(key, return_inverse=True)
    values = data[dq == 0].astype(float)
    level = np.array([np.median(values[index == k]) for k in range(labels.size)])
    return float(1.4826 * np.median(np.abs(level / np.median(level) - 1)))


def sky_errors(truth: Path | str, before: Path | str, after: Path | str) -> tuple[float, float, float]:
    """Compare the sky that a reduction has subtracted with the true one, row by row.

    Parameters
    ----------
    truth, before, after : PIXTABLE_REDUCED of the noise-free sky alone, of the observation with its sky, and
        without it; the order of the rows does not matter

    Returns
    -------
    tuple
        rms over bins of 1.25 A of the mean error in units of the noise of that mean, where the sky is bright
        (lines) and elsewhere; mean error elsewhere in per cent of the sky
    """
    error, stat, sky, columns = _row_errors(truth, before, after)
    lam = columns["lambda"].astype(float)
    bins = ((lam - lam.min()) / 1.25).astype(int)
    count = np.bincount(bins)
    mean = np.bincount(bins, error) / count
    noise = np.sqrt(np.bincount(bins, stat)) / count
    level = np.bincount(bins, sky) / count
    inside = slice(3, -3)  # the first and last bins have few rows
    mean, noise, level = mean[inside], noise[inside], level[inside]
    bright = _is_bright(level)
    lines, between = (float(np.sqrt(np.mean((mean / noise)[part] ** 2))) for part in (bright, ~bright))
    return lines, between, float(100 * mean[~bright].mean() / level[~bright].mean())


@dataclass(frozen=True)
class SkyErrors:
    """Errors of a subtracted sky in units of the noise: of single rows, and of apertures of 10 x 10 spaxels.

    `rows` and `apertures` are rms over all wavelengths, `row_lines` and `aperture_lines` over those where the
    sky is bright; `offset` is the mean error elsewhere in per cent of the sky.
    """

    rows: float
    row_lines: float
    apertures: float
    aperture_lines: float
    offset: float


def sky_errors_of_apertures(truth: Path | str, before: Path | str, after: Path | str) -> SkyErrors:
    """Compare the sky that a reduction has subtracted with the true one, in rows and in apertures.

    Parameters
    ----------
    truth, before, after : as for `sky_errors`, with positions in pixels (`astrometry=false`)
    """
    error, stat, sky, columns = _row_errors(truth, before, after)
    lam = columns["lambda"].astype(float)
    plane = ((lam - lam.min()) / 1.25).astype(int)
    level = np.bincount(plane, sky) / np.maximum(np.bincount(plane), 1)
    bright = _is_bright(level)[plane]
    boxes = [np.floor((columns[name] - columns[name].min()) / 10.0).astype(int) for name in ("xpos", "ypos")]
    shape = (boxes[1].max() + 1, boxes[0].max() + 1, plane.max() + 1)
    key = np.ravel_multi_index((boxes[1], boxes[0], plane), shape)
    count = np.bincount(key)
    full = count > 0.5 * np.median(count[count > 0])
    chi = np.bincount(key, error)[full] / np.sqrt(np.bincount(key, stat)[full])
    in_line = np.bincount(key, bright)[full] > 0.5 * count[full]
    z = error / np.sqrt(stat)

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(np.mean(values**2)))

    offset = 100 * error[~bright].mean() / sky[~bright].mean()
    return SkyErrors(rms(z), rms(z[bright]), rms(chi), rms(chi[in_line]), float(offset))


def _is_bright(level: np.ndarray) -> np.ndarray:
    floor = np.percentile(level, 25)
    return level > floor + 0.05 * (level.max() - floor)


def _row_errors(
    truth: Path | str, before: Path | str, after: Path | str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Error of the subtracted sky, variance and true sky of each row, and the columns of its table."""
    names = ("xpos", "ypos", "lambda", "data", "stat", "dq", "origin")
    tables = []
    for path in (truth, before, after):
        with open_fits(Path(path)) as hdus:
            tables.append({name: np.array(hdus[name].data).ravel() for name in names})
    origins = [table["origin"].view(np.uint32) for table in tables]
    common = np.intersect1d(origins[0], origins[2])
    rows = [np.argsort(origin)[np.searchsorted(np.sort(origin), common)] for origin in origins]
    sky, full, rest = (table["data"][index].astype(float) for table, index in zip(tables, rows))
    columns = {name: tables[1][name][rows[1]] for name in names}
    return sky - (full - rest), columns["stat"].astype(float), sky, columns
