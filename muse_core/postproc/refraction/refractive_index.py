# SPDX-License-Identifier: BSD-3-Clause
"""Refractive index of air by four published formulas, reduced to one set of coefficients.

Each formula can be written with s = 1/lambda^2 (lambda in micron) as

    n - 1 = b1/(a1 - s) + b2/(a2 - s) + p0 + p1 s + p2 s^2 + p3 s^3

so the kernel that treats the pixel-table rows is the same for all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from muse_core.postproc.refraction.shift_kernels import refractivity_at

HPA_TO_MMHG = 0.75006158
METHODS = ("Filippenko", "Owens", "Edlen", "Ciddor")


@dataclass(frozen=True)
class Air:
    """State of the air: temperature [deg C], relative humidity [%], pressure [hPa]."""

    temperature: float = 11.5
    humidity: float = 14.5
    pressure: float = 743.0


@dataclass(frozen=True)
class RefractiveIndex:
    """Dispersion formula of air, see the module text."""

    a1: float
    b1: float
    a2: float
    b2: float
    p0: float
    p1: float
    p2: float = 0.0
    p3: float = 0.0

    def refractivity(self, wavelength: float) -> float:
        """Return n - 1 at a wavelength [Angstrom]."""
        return float(refractivity_at(wavelength, self.coefficients()))

    def coefficients(self) -> tuple[float, float, float, float, float, float, float, float]:
        """Coefficients in the order of the kernel."""
        return (self.a1, self.b1, self.a2, self.b2, self.p0, self.p1, self.p2, self.p3)


def saturation_pressure_owens(kelvin: float) -> float:
    """Saturation vapour pressure of water [hPa] (Owens 1967)."""
    return -10474.0 + 116.43 * kelvin - 0.43284 * kelvin**2 + 0.00053840 * kelvin**3


def saturation_pressure_iapws(celsius: float) -> float:
    """Saturation vapour pressure [Pa] over water (IAPWS), below 0 deg C over ice.

    >>> round(saturation_pressure_iapws(20.0), 2)
    2339.21
    """
    kelvin = celsius + 273.15
    if celsius < 0.0:
        theta = kelvin / 273.16
        exponent = -13.928169 * (1 - theta**-1.5) + 34.7078238 * (1 - theta**-1.25)
        return 611.657 * math.exp(exponent)
    omega = kelvin - 2.38555575678e-1 / (kelvin - 6.50175348448e2)
    a = omega**2 + 1.16705214528e3 * omega - 7.24213167032e5
    b = -1.70738469401e1 * omega**2 + 1.20208247025e4 * omega - 3.23255503223e6
    c = 1.49151086135e1 * omega**2 - 4.82326573616e3 * omega + 4.05113405421e5
    x = -b + math.sqrt(b * b - 4 * a * c)
    return 1e6 * (2 * c / x) ** 4


def refractive_index(method: str, air: Air, *, water_vapour_tenfold: bool = False) -> RefractiveIndex:
    """Dispersion formula for a state of the air.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    air : Air
        State of the air.
    water_vapour_tenfold : bool
        Take the water term of "Edlen" ten times too large, as the C pipeline does.
    """
    if method == "Owens":
        return _owens(air)
    if method == "Edlen":
        return _edlen(air, 1e-9 if water_vapour_tenfold else 1e-10)
    if method == "Ciddor":
        return _ciddor(air)
    return _filippenko(air)


def _filippenko(air: Air) -> RefractiveIndex:
    """Filippenko (1982, PASP 94, 715), equations 1 to 3."""
    t = air.temperature
    pressure = air.pressure * HPA_TO_MMHG
    vapour = air.humidity / 100 * saturation_pressure_owens(t + 273.15) * HPA_TO_MMHG
    thermal = 1.0 + 0.003661 * t
    dry = 1e-6 * pressure * (1.0 + (1.049 - 0.0157 * t) * 1e-6 * pressure) / (720.883 * thermal)
    wet = 1e-6 * vapour / thermal
    return RefractiveIndex(
        146.0, 29498.1 * dry, 41.0, 255.4 * dry, 64.328 * dry - 0.0624 * wet, 0.000680 * wet
    )


def _owens(air: Air) -> RefractiveIndex:
    """Owens (1967, Appl. Opt. 6, 51), equations 29 to 32 for separate dry air and vapour densities."""
    kelvin = air.temperature + 273.15
    vapour = air.humidity / 100 * saturation_pressure_owens(kelvin)
    dry = air.pressure - vapour
    density_dry = dry / kelvin * (1 + dry * (57.90e-8 - 9.3250e-4 / kelvin + 0.25844 / kelvin**2))
    virial = -2.37321e-3 + 2.23366 / kelvin - 710.792 / kelvin**2 + 7.75141e4 / kelvin**3
    density_wet = vapour / kelvin * (1 + vapour * (1 + 3.7e-4 * vapour) * virial)
    d, w = density_dry * 1e-8, density_wet * 1e-8
    return RefractiveIndex(
        130.0,
        683939.7 * d,
        38.9,
        4547.3 * d,
        2371.34 * d + 6487.31 * w,
        58.058 * w,
        -0.71150 * w,
        0.08851 * w,
    )


def _edlen(air: Air, water_scale: float) -> RefractiveIndex:
    """Modified Edlen equation in the form of Stone and Zimmerman (NIST)."""
    t = air.temperature
    pressure = 100 * air.pressure
    vapour = air.humidity / 100 * saturation_pressure_iapws(t)
    x = (1 + 1e-8 * (0.601 - 0.00972 * t) * pressure) / (1 + 0.003661 * t)
    dry = 1e-8 * pressure * x / 96095.43
    wet = water_scale * 292.75 / (t + 273.15) * vapour
    return RefractiveIndex(
        130.0, 2406147.0 * dry, 38.9, 15998.0 * dry, 8342.54 * dry - 3.7345 * wet, 0.0401 * wet
    )


def _ciddor(air: Air) -> RefractiveIndex:
    """Ciddor (1996, Appl. Opt. 35, 1566) in the NIST form, for 450 ppm carbon dioxide."""
    t = air.temperature
    kelvin = t + 273.15
    pressure = 100 * air.pressure
    enhancement = 1.00062 + 3.14e-8 * pressure + 5.60e-7 * t * t
    fraction = air.humidity / 100 * enhancement * saturation_pressure_iapws(t) / pressure
    molar_dry = 0.0289635 + 1.2011e-8 * (450.0 - 400.0)
    molar_wet, gas_constant = 0.018015, 8.314472
    ratio = pressure / kelvin
    compressibility = (
        1
        - ratio
        * (
            1.58123e-6
            - 2.9331e-8 * t
            + 1.1043e-10 * t * t
            + (5.707e-6 - 2.051e-8 * t) * fraction
            + (1.9898e-4 - 2.376e-6 * t) * fraction**2
        )
        + ratio * ratio * (1.83e-11 - 0.765e-8 * fraction**2)
    )
    standard_dry = 101325.0 * molar_dry / (0.9995922115 * gas_constant * 288.15)
    per_mole = pressure / (compressibility * gas_constant * kelvin)
    dry = (1 - fraction) * molar_dry * per_mole / standard_dry * 1e-8
    wet = fraction * molar_wet * per_mole / 0.00985938 * 1.022e-8
    return RefractiveIndex(
        238.0185,
        5792105.0 * dry,
        57.362,
        167917.0 * dry,
        295.235 * wet,
        2.6422 * wet,
        -0.03238 * wet,
        0.004028 * wet,
    )
