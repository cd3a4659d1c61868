# SPDX-License-Identifier: BSD-3-Clause
"""Sky and telescope as the simulator sees them: refraction, airmass, response, absorption, sky light.

Written from the publications cited, independently of the reduction, so that an error on one side shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PARANAL_LATITUDE = -24.625278
TELESCOPE_BIN = 1.25  # Angstrom, the width in which the pipeline counts flux


@dataclass(frozen=True)
class Weather:
    """Ambient conditions: temperature [degC], relative humidity [%], pressure [hPa]."""

    temperature: float = 11.5
    humidity: float = 14.5
    pressure: float = 743.0


def refractivity(wavelength: np.ndarray, weather: Weather) -> np.ndarray:
    """Refractive index minus 1 of moist air after Filippenko (1982), vapour pressure after Owens (1967)."""
    t = weather.temperature
    kelvin = t + 273.15
    saturation = -10474.0 + 116.43 * kelvin - 0.43284 * kelvin**2 + 0.00053840 * kelvin**3
    mmhg = 0.75006158
    vapour = weather.humidity / 100 * saturation * mmhg
    p = weather.pressure * mmhg
    s2 = (1e4 / np.asarray(wavelength, float)) ** 2
    warm = 1 + 0.003661 * t
    dry = (64.328 + 29498.1 / (146 - s2) + 255.4 / (41 - s2)) * p * (1 + (1.049 - 0.0157 * t) * 1e-6 * p)
    return 1e-6 * (dry / (720.883 * warm) - (0.0624 - 0.000680 * s2) * vapour / warm)


def dispersion_pixels(
    wavelength: npt.ArrayLike, reference: float, airmass: float, weather: Weather, scale_arcsec: float = 0.2
) -> np.ndarray:
    """Differential refraction against the reference wavelength [pix along the vertical circle]."""
    n_ref = refractivity(np.array([reference]), weather)[0]
    zenith = np.arccos(1.0 / airmass)
    return (
        (n_ref - refractivity(np.asarray(wavelength, np.float64), weather))
        * np.tan(zenith)
        * 206264.8
        / scale_arcsec
    )


@dataclass(frozen=True)
class Pointing:
    """Where the telescope looks: position [deg], sidereal time [s] at the start, exposure time [s]."""

    ra: float
    dec: float
    lst: float
    exptime: float
    latitude: float = -24.627

    def _angles(self, seconds: float) -> tuple[float, float]:
        hour = np.deg2rad((self.lst + seconds) / 240.0 - self.ra)
        return (hour + np.pi) % (2 * np.pi) - np.pi, np.deg2rad(self.latitude)

    def airmass_at(self, seconds: float) -> float:
        """Airmass (Hardie 1962) some seconds after the start."""
        hour, lat = self._angles(seconds)
        dec = np.deg2rad(self.dec)
        sec = 1.0 / (np.sin(lat) * np.sin(dec) + np.cos(lat) * np.cos(dec) * np.cos(hour))
        s = sec - 1
        return float(sec - 0.0018167 * s - 0.002875 * s**2 - 0.0008083 * s**3)

    def parallactic_angle_at(self, seconds: float) -> float:
        """Parallactic angle [deg]."""
        hour, lat = self._angles(seconds)
        dec = np.deg2rad(self.dec)
        y = np.sin(hour)
        x = np.tan(lat) * np.cos(dec) - np.sin(dec) * np.cos(hour)
        return float(np.rad2deg(np.arctan2(y, x)))

    @property
    def airmass(self) -> float:
        """Mean airmass of the exposure, Simpson's rule as in Stetson's prescription."""
        t = self.exptime
        return (self.airmass_at(0) + 4 * self.airmass_at(t / 2) + self.airmass_at(t)) / 6


def response_curve(wavelength: np.ndarray) -> np.ndarray:
    """Instrument response, 2.5 log10 of (count/s/A)/(erg/s/cm**2/A): smooth, highest near 7000 A."""
    u = (np.asarray(wavelength, float) - 7000.0) / 2500.0
    return 43.55 - 0.55 * u**2 - 0.35 * u**4 + 0.06 * np.sin(5 * u) + 0.02 * np.sin(17 * u)


# O2 and water bands: centre, depth, half width [A], asymmetry to the red (after the shape of the telluric
# bands in any solar atlas; no line is resolved)
_BANDS = (
    (6282.0, 0.06, 3.0, 18.0),
    (6872.0, 0.28, 5.0, 30.0),
    (7190.0, 0.15, 25.0, 70.0),
    (7605.0, 0.62, 9.0, 40.0),
    (8165.0, 0.12, 25.0, 90.0),
    (8960.0, 0.22, 40.0, 70.0),
    (9350.0, 0.45, 90.0, 90.0),
)


def telluric_transmission(wavelength: np.ndarray) -> np.ndarray:
    """Telluric transmission at airmass 1."""
    wave = np.asarray(wavelength, float)
    depth = np.zeros_like(wave)
    for centre, strength, blue, red in _BANDS:
        d = wave - centre
        width = np.where(d < 0, blue, red)
        depth += strength * np.exp(-0.5 * (d / width) ** 2) * (1 + 0.25 * np.cos(d / 4.5))
    return np.clip(np.exp(-depth), 0.02, 1.0)


def sky_continuum(wavelength: np.ndarray, level: float = 45.0, tilt: float = 0.0) -> np.ndarray:
    """Dark-sky continuum [1e-20 erg/s/cm2/A per 0.2" spaxel], about 21.5 mag/arcsec2 in V.

    Parameters
    ----------
    level : float   value at 7000 A
    tilt : float    additional relative change per 1000 A
    """
    u = (np.asarray(wavelength, float) - 7000.0) / 1000.0
    broad = 1 - 0.02 * u + 0.015 * np.sin(2.1 * u) + 0.05 * np.exp(-0.5 * ((u + 1.2) / 0.25) ** 2)
    return level * (broad + tilt * u)
