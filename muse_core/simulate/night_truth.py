# SPDX-License-Identifier: BSD-3-Clause
"""How much of the truth of a simulated night comes back, measured on the products of any reduction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.fits_file import open_fits
from muse_core.simulate.night_scenes import DEC, RA, share_on_pixels, sources_on_pixels
from muse_core.simulate.raw_instrument import lamp_spectrum
from muse_core.simulate.scene import gnomonic

Floats = npt.NDArray[np.float64]
RADIUS, RING = 1.4, (1.5, 1.9)  # arcsec: aperture of a source, and where its background is taken
MOST_LINES = 60  # of the sky, the brightest
FREE = 2.0  # arcsec from any source: sky
LINES, WIDTH = (5892.9, 6562.8), 6.1  # absorption of the stars, and its standard deviation as it is seen [A]
STAR_BETA = 2.8  # exponent of the profile of stars (`Scene.source_table`)
LINE_RANGE = 8.0  # Angstrom on both sides of an emission line that count as line
BANDS = (
    (6273, 6320), (6864, 6967), (7164, 7325), (7590, 7700), (8131, 8345), (8952, 9028), (9274, 9770),
)  # fmt: skip
"""Telluric bands, in which the response is interpolated [Angstrom]."""


@dataclass(frozen=True)
class Recovery:
    """What came back, each number as found minus or over the truth.

    Parameters
    ----------
    sky_lines : mean and rms of the errors of single sky lines in SKY_SPECTRUM [A]
    response : 5th and 95th percentile of the error of STD_RESPONSE outside telluric bands, its mean apart [%]
    telluric : median and largest error of the transmission in the bands
    scale : errors in x and y [arcsec per pixel]
    angle : errors in x and y [deg]
    places : mean east, mean north, and rms about them of the stars in the combined cube [mas]
    fluxes : mean and largest deviation of the stars [%]
    absorption : mean and rms error of the wavelengths of the absorption lines of the stars [A]
    line : flux error of the emission line [%] and error of its wavelength [A]
    sky : mean residual beside and on bright sky lines, rms over planes, over the sky there [%]
    chi : rms of (data / error) of voxels of pure sky, and of apertures of 5 x 5 spaxels
    """

    sky_lines: tuple[float, float]
    response: tuple[float, float]
    telluric: tuple[float, float]
    scale: tuple[float, float]
    angle: tuple[float, float]
    places: tuple[float, float, float]
    fluxes: tuple[float, float]
    absorption: tuple[float, float]
    line: tuple[float, float]
    sky: tuple[float, float]
    chi: tuple[float, float]

    @staticmethod
    def titles() -> list[str]:
        """Titles of the columns of a table."""
        return [
            "sky lines [A]: mean, rms", "response [%]: 5, 95 %", "transmission: median, largest",
            'scale [1e-5"]: x, y', "angle [deg]: x, y", "stars [mas]: east, north, rms",
            "star fluxes [%]: mean, largest", "absorption lines [A]: mean, rms",
            "emission line: flux [%], place [A]", "sky left [%]: between, on lines", "chi: voxels, 5 x 5",
        ]  # fmt: skip

    def texts(self) -> list[str]:
        """Cells of a table."""

        def pair(values: Sequence[float], form: str) -> str:
            return ", ".join(form.format(value) for value in values)

        return [
            pair(self.sky_lines, "{:+.4f}"), pair(self.response, "{:+.2f}"), pair(self.telluric, "{:.4f}"),
            pair([1e5 * v for v in self.scale], "{:+.1f}"), pair(self.angle, "{:+.4f}"),
            pair(self.places, "{:.1f}"), pair(self.fluxes, "{:+.2f}"), pair(self.absorption, "{:+.4f}"),
            f"{self.line[0]:+.2f}, {self.line[1]:+.4f}", pair(self.sky, "{:.2f}"), pair(self.chi, "{:.2f}"),
        ]  # fmt: skip


def measure(folder: Path, truth: Mapping[str, Any]) -> Recovery:
    """Measure the products of a night.

    Parameters
    ----------
    folder : with a folder for each step, ``NN_recipe``
    truth : of ``truth.json``
    """
    cube = Cube(_one(folder, "muse_exp_combine/DATACUBE_FINAL.fits"))
    fluxes, places = cube.stars(truth)
    scale, angle = astrometry(_one(folder, "muse_astrometry/ASTROMETRY_WCS_0001.fits"), truth)
    mean = places.mean(axis=0)
    rms = float(np.sqrt(((places - mean) ** 2).sum(axis=1).mean()))
    off = 100 * (fluxes / fluxes.mean() - 1)
    return Recovery(
        sky_lines(_one(folder, "muse_create_sky/SKY_SPECTRUM.fits"), truth),
        response_error(_one(folder, "muse_standard/STD_RESPONSE_0001.fits"), truth),
        telluric_error(_one(folder, "muse_standard/STD_TELLURIC_0001.fits"), truth),
        scale, angle, (float(mean[0]), float(mean[1]), rms),
        (float(100 * (fluxes.mean() - 1)), float(off[np.abs(off).argmax()])),
        cube.absorption_lines(truth), cube.emission_line(truth), cube.sky(truth), cube.chi(truth),
    )  # fmt: skip


def _one(folder: Path, name: str) -> Path:
    return sorted(folder.glob(f"??_{name}"))[0]


def _table(path: Path) -> dict[str, Floats]:
    with open_fits(path) as hdus:
        data = hdus[1].data
        return {
            name: np.array(data[name], float) for name in data.dtype.names if data[name].dtype.kind == "f"
        }


def sky_lines(path: Path, truth: Mapping[str, Any]) -> tuple[float, float]:
    """Return mean and rms error of the wavelengths of bright lines in a sky spectrum [A].

    The lines around each bright one are fitted together, with one shift and one width.
    """
    from scipy.optimize import curve_fit

    table = _table(path)
    lam, data = table["lambda"], table["data"]
    wave, flux = (np.array(truth["sky_lines"][name]) for name in ("lambda", "flux"))
    errors: list[float] = []
    for k in np.argsort(flux)[::-1][:MOST_LINES]:
        near = np.abs(lam - wave[k]) < 6.0
        shown = np.abs(wave - wave[k]) < 14.0
        if near.sum() < 8 or lam[near].min() < lam[0] + 5 or flux[shown].max() > flux[k]:
            continue

        def lines(
            x: Floats, scale: float, shift: float, sigma: float, level: float, s: Any = shown
        ) -> Floats:
            apart = x[:, None] - wave[s][None, :] - shift
            return level + scale * (flux[s] * np.exp(-0.5 * (apart / sigma) ** 2)).sum(axis=1)

        start = [float(np.ptp(data[near])) / float(flux[k]), 0.0, 1.1, float(data[near].min())]
        fit, covariance = curve_fit(lines, lam[near], data[near], start, maxfev=4000)
        if covariance[1, 1] < 0.02**2:
            errors.append(float(fit[1]))
    if not errors:
        return float("nan"), float("nan")
    return float(np.mean(errors)), float(np.sqrt(np.mean(np.square(errors))))


def _seen(truth: Mapping[str, Any], lam: Floats) -> npt.NDArray[np.bool_]:
    """Wavelengths that the detectors have seen, away from both ends."""
    low, high = truth["setup"]["lambda_min"], truth["setup"]["lambda_max"]
    return (lam > max(low + 30.0, 4770.0)) & (lam < min(high - 30.0, 9300.0))


def response_error(path: Path, truth: Mapping[str, Any]) -> tuple[float, float]:
    """Return the 5th and 95th percentile of the error of a response outside telluric bands [%].

    Its mean counts as throughput: what the flat fields and the twilight are scaled to is free. A response
    that was made with the spectrum of the flat field holds that of the lamp.
    """
    table = _table(path)
    lam = table["lambda"]
    good = _seen(truth, lam)
    for low, high in BANDS:
        good &= (lam < low - 15) | (lam > high + 15)
    true = np.interp(lam[good], truth["response"]["lambda"], truth["response"]["value"])
    with open_fits(path) as hdus:
        if hdus[0].header.get("ESO DRS MUSE FLUX FFCORR"):
            true += 2.5 * np.log10(lamp_spectrum(lam[good]))
    error = table["response"][good] - true
    percent = 100 * (10 ** (0.4 * (error - np.median(error))) - 1)
    low, high = np.percentile(percent, [5, 95])
    return float(low), float(high)


def telluric_error(path: Path, truth: Mapping[str, Any]) -> tuple[float, float]:
    """Return median and largest absolute error of the transmission in the bands."""
    table = _table(path)
    good = _seen(truth, table["lambda"]) & (table["ftelluric"] < 1)
    if not good.any():
        return float("nan"), float("nan")
    true = np.interp(table["lambda"][good], truth["telluric"]["lambda"], truth["telluric"]["value"])
    error = np.abs(table["ftelluric"][good] - true)
    return float(np.median(error)), float(error.max())


def astrometry(path: Path, truth: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return errors of scale [arcsec] and angle [deg] in x and y."""
    with open_fits(path) as hdus:
        cd = np.array([[hdus[0].header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)]) * 3600.0
    scale = np.hypot(cd[:, 0], cd[:, 1]) - np.array(truth["scale"])
    angles = np.rad2deg([np.arctan2(cd[0, 1], -cd[0, 0]), np.arctan2(cd[1, 0], cd[1, 1])]) - truth["angle"]
    return (float(scale[0]), float(scale[1])), (float(angles[0]), float(angles[1]))


class Cube:
    """A combined cube, and what is measured on it."""

    def __init__(self, path: Path) -> None:
        from astropy.wcs import WCS

        with open_fits(path) as hdus:
            self.data = np.array(hdus["DATA"].data, float)
            self.stat = np.array(hdus["STAT"].data, float)
            header = hdus["DATA"].header
        self.lam = header["CRVAL3"] + (np.arange(len(self.data)) + 1 - header["CRPIX3"]) * header["CD3_3"]
        self.step = float(header["CD3_3"])
        self.wcs = WCS(header).celestial
        rows, columns = np.indices(self.data.shape[1:])
        self.iy, self.ix = np.asarray(rows), np.asarray(columns)
        covered = np.isfinite(self.data).sum(axis=0)
        self.whole = covered > 0.9 * covered.max()

    def _distance(self, source: Mapping[str, Any]) -> tuple[Floats, float, float]:
        """Distance of each spaxel [arcsec], and the true place [pixel]."""
        x, y = (float(v) for v in self.wcs.all_world2pix(source["ra"], source["dec"], 0))
        return 0.2 * np.hypot(self.ix - x, self.iy - y), x, y

    def _covers(self, source: Mapping[str, Any], radius: float) -> bool:
        """Whether all that is nearer to a source than a radius [arcsec] has data."""
        r, x, y = self._distance(source)
        (ny, nx), margin = self.whole.shape, radius / 0.2
        inside = margin <= x <= nx - 1 - margin and margin <= y <= ny - 1 - margin
        return bool(inside and self.whole[r < radius].all())

    def _free(self, truth: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """Spaxels of pure sky, not at the border of the data."""
        from scipy.ndimage import binary_erosion

        free = np.asarray(binary_erosion(self.whole, iterations=3))
        for source in (*truth["stars"], *truth["galaxies"]):
            free &= self._distance(source)[0] > FREE
        return free

    def stars(self, truth: Mapping[str, Any]) -> tuple[Floats, Floats]:
        """Return fluxes over the truth, and errors of the places [mas] east and north.

        Fluxes are those in apertures, over the share of the light that falls into them (see `_flux_over`);
        places come from fits.
        """
        planes = (self.lam > self.lam[0] + 30) & (self.lam < self.lam[-1] - 30)
        lam = self.lam[planes]
        image = _mean(self.data[planes])
        fluxes, places = [], []
        for star in truth["stars"]:
            if not self._covers(star, RING[1]):
                continue
            r, x, y = self._distance(star)
            places.append(_offset(image, r < RADIUS, self.ix, self.iy, x, y))
            near = r < RING[1]
            xi, eta = self._tangent(near)
            only = {"stars": [star], "galaxies": []}
            own = sources_on_pixels(only, xi, eta, lam).mean(axis=0)
            others = sources_on_pixels(truth, xi, eta, lam).mean(axis=0) - own
            fluxes.append(_flux_over(image[near] - others, own, r[near]))
        return np.array(fluxes), np.array(places)

    def absorption_lines(self, truth: Mapping[str, Any]) -> tuple[float, float]:
        """Return mean and rms error of the wavelengths of the absorption lines of the stars [A]."""
        from scipy.optimize import curve_fit

        def line(x: Floats, depth: float, shift: float, level: float, slope: float) -> Floats:
            return (level + slope * x) * (1 - depth * np.exp(-0.5 * ((x - shift) / WIDTH) ** 2))

        errors = []
        for place in LINES:
            near = np.abs(self.lam - place) < 16.0
            for star in truth["stars"] if near.sum() > 20 else ():
                if not self._covers(star, 0.8):
                    continue
                r, _, _ = self._distance(star)
                spectrum = self.data[near][:, r < 0.8].sum(axis=1)
                start = [0.3, 0.0, float(np.median(spectrum)), 0.0]
                fit, _ = curve_fit(line, self.lam[near] - place, spectrum, start)
                errors.append(float(fit[1]))
        if not errors:
            return float("nan"), float("nan")
        return float(np.mean(errors)), float(np.sqrt(np.mean(np.square(errors))))

    def emission_line(self, truth: Mapping[str, Any]) -> tuple[float, float]:
        """Return the error of the flux [%] and of the wavelength [A] of the emission line."""
        galaxy = truth["galaxies"][0]
        r, _, _ = self._distance(galaxy)
        away = np.abs(self.lam - galaxy["line_wavelength"])
        line, side = away < LINE_RANGE, (away > 1.5 * LINE_RANGE) & (away < 5 * LINE_RANGE)
        image = self.step * (self.data[line] - _mean(self.data[side])).sum(axis=0)
        near = (r < RING[1]) & np.isfinite(image)
        share = share_on_pixels(galaxy, *self._tangent(near), np.array([galaxy["line_wavelength"]]))[0]
        flux = _flux_over(image[near], galaxy["line_flux"] * share, r[near])
        core = r < 0.6
        spectrum = (self.data[:, core] - _mean(self.data[side][:, core])).sum(axis=1)
        place = float((spectrum * self.lam)[line].sum() / spectrum[line].sum())
        return 100 * (flux - 1), place - galaxy["line_wavelength"]

    def _without_sources(self, truth: Mapping[str, Any], where: npt.NDArray[np.bool_]) -> Floats:
        """Data of some spaxels less the wings of the true sources there."""
        xi, eta = self._tangent(where)
        return np.asarray(self.data[:, where] - sources_on_pixels(truth, xi, eta, self.lam))

    def _tangent(self, where: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        ra, dec = self.wcs.all_pix2world(self.ix[where], self.iy[where], 0)
        return gnomonic(ra, dec, RA, DEC)

    def sky(self, truth: Mapping[str, Any]) -> tuple[float, float]:
        """Return the residual sky between and on bright lines, rms over planes over the sky level [%]."""
        free = self._free(truth)
        mean = _mean(self._without_sources(truth, free).T)
        inside = _seen(truth, self.lam)
        wave, flux = (np.array(truth["sky_lines"][name]) for name in ("lambda", "flux"))
        bright = np.zeros(self.lam.size, bool)
        seen = _seen(truth, wave)
        strong = wave[seen & (flux > 0.1 * flux[seen].max())]
        for place in strong:
            bright |= np.abs(self.lam - place) < 4.0
        level = float(truth["sky_level"])
        return (
            100 * float(np.sqrt(np.mean(mean[inside & ~bright] ** 2))) / level,
            100 * float(np.sqrt(np.mean(mean[inside & bright] ** 2))) / level,
        )

    def chi(self, truth: Mapping[str, Any]) -> tuple[float, float]:
        """Return the rms of data over error of voxels of pure sky, and of sums of 5 x 5 spaxels.

        Medians of the squares, so that neither lines nor hits count; the mean of each plane is taken out.
        """
        free = self._free(truth)
        inside = _seen(truth, self.lam)
        data = np.full(self.data[inside].shape, np.nan)
        data[:, free] = self._without_sources(truth, free)[inside]
        data -= np.nanmedian(data[:, free], axis=1)[:, None, None]
        stat = self.stat[inside]
        single = (data[:, free] ** 2) / stat[:, free]
        sums = []
        for y in range(0, free.shape[0] - 4, 5):
            for x in range(0, free.shape[1] - 4, 5):
                box = (slice(y, y + 5), slice(x, x + 5))
                if free[box].all():
                    part = (slice(None), *box)
                    sums.append(data[part].sum(axis=(1, 2)) ** 2 / stat[part].sum(axis=(1, 2)))
        half = 0.4549  # median of chi squared with one degree of freedom
        return (
            float(np.sqrt(np.nanmedian(single) / half)),
            float(np.sqrt(np.nanmedian(sums) / half)) if sums else float("nan"),
        )


def _mean(planes: Floats) -> Floats:
    """Mean over the planes that have data (NaN where none has)."""
    count = np.isfinite(planes).sum(axis=0)
    return np.asarray(np.where(count > 0, np.nansum(planes, axis=0) / np.maximum(count, 1), np.nan))


def _flux_over(image: Floats, own: Floats, r: Floats) -> float:
    """Return the light of a source over the expected one, from an aperture and the ring about it.

    How much the cube smears the image hardly matters there, while a fit of an unsmeared profile gives 2 to
    4 % too much. Light of the source in the ring is taken into account.

    Parameters
    ----------
    image, own : float64[n]
        light of spaxels, and how much of it is expected to be that of the source
    r : float64[n]
        distances [arcsec]
    """
    aperture, ring = r < RADIUS, (r > RING[0]) & (r < RING[1])
    measured = image[aperture].sum() - aperture.sum() * image[ring].mean()
    return float(measured / (own[aperture].sum() - aperture.sum() * own[ring].mean()))


def _offset(
    image: Floats, near: npt.NDArray[np.bool_], ix: Any, iy: Any, x: float, y: float
) -> tuple[float, float]:
    """Fit the profile of a star; returns how far it lies east and north of a place [mas]."""
    from scipy.optimize import curve_fit

    def moffat(
        c: Any, flux: float, x0: float, y0: float, ax: float, ay: float, rho: float, level: float
    ) -> Floats:
        u, v = (c[0] - x0) / ax, (c[1] - y0) / ay
        peak = flux * (STAR_BETA - 1) / (np.pi * abs(ax * ay) * np.sqrt(1 - rho**2))
        q = (u * u + v * v - 2 * rho * u * v) / (1 - rho**2)
        return np.asarray(level + peak * (1 + q) ** -STAR_BETA)

    near = near & np.isfinite(image)
    level = float(np.nanmin(image[near]))
    start = [float((image[near] - level).sum()), x, y, 3.5, 3.5, 0.0, level]
    low = [0, x - 3, y - 3, 0.8, 0.8, -0.7, -np.inf]
    high = [np.inf, x + 3, y + 3, 12, 12, 0.7, np.inf]
    fit, _ = curve_fit(moffat, (ix[near], iy[near]), image[near], start, bounds=(low, high))
    return -200.0 * float(fit[1] - x), 200.0 * float(fit[2] - y)
