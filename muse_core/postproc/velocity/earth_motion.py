# SPDX-License-Identifier: BSD-3-Clause
"""Velocity of an observer on the Earth: orbital motion (Stumpff 1980) and diurnal rotation.

The orbital part follows the classical series of Stumpff (1980, A&AS 41, 1), accurate to 0.42 m/s for the
heliocentric and barycentric velocity.  It is kept, although better ephemerides exist, because the
C pipeline uses it: wavelengths then agree to the float32 rounding, which modern series (different by
up to 0.8 m/s) do not reach.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

AU_KM = 149597870.66
"""Astronomical unit [km] as used by the series."""

_JD_1900 = 2415020.0
_CENTURY_DAYS = 36525.0
_SIDEREAL_RATE = 1.00273790935
_EMB_MASS_COMPLEMENT = 0.99999696
"""One minus the mass of Earth and Moon in solar masses."""

# Elements as polynomials in centuries since 1900 [rad]: mean longitude and anomaly of the Earth-Moon
# barycentre, two arguments of the Moon, mean longitudes of the four giant planets.
_FAST_ELEMENTS = np.array(
    [
        [1.7400353, 6.2833195099091e2, 5.2796e-6],
        [6.2565836, 6.2830194572674e2, -2.6180e-6],
        [4.7199666, 8.3997091449254e3, -1.9780e-5],
        [1.9636505e-1, 8.4334662911720e3, -5.6044e-5],
        [4.1547339, 5.2993466764997e1, 5.8845e-6],
        [4.6524223, 2.1354275911213e1, 5.6797e-6],
        [4.2620486, 7.5025342197656, 5.5317e-6],
        [1.4740694, 3.8377331909193, 5.6093e-6],
    ]
)
_OBLIQUITY = np.array([4.093198e-1, -2.271110e-4, -2.860401e-8])
_SLOW_ELEMENTS = np.array(
    [
        [1.675104e-2, -4.179579e-5, -1.260516e-7],
        [2.220221e-1, 2.809917e-2, 1.852532e-5],
        [1.589963, 3.418075e-2, 1.430200e-5],
        [2.994089, 2.590824e-2, 4.155840e-6],
        [8.155457e-1, 2.486352e-2, 6.836840e-6],
        [1.735614, 1.763719e-2, 6.370440e-6],
        [1.968564, 1.524020e-2, -2.517152e-6],
        [1.282417, 8.703393e-3, 2.289292e-5],
        [2.280820, 1.918010e-2, 4.484520e-6],
        [4.833473e-2, 1.641773e-4, -4.654200e-7],
        [5.589232e-2, -3.455092e-4, -7.388560e-7],
        [4.634443e-2, -2.658234e-5, 7.757000e-8],
        [8.997041e-3, 6.329728e-6, -1.939256e-9],
        [2.284178e-2, -9.941590e-5, 6.787400e-8],
        [4.350267e-2, -6.839749e-5, -2.714956e-7],
        [1.348204e-2, 1.091504e-5, 6.903760e-7],
        [3.106570e-2, -1.665665e-4, -1.590188e-7],
    ]
)
_PERTURBATION_ARGUMENTS = np.array(
    [
        [5.0974222, -7.8604195454652e2],
        [3.9584962, -5.7533848094674e2],
        [1.6338070, -1.1506769618935e3],
        [2.5487111, -3.9302097727326e2],
        [4.9255514, -5.8849265665348e2],
        [1.3363463, -5.5076098609303e2],
        [1.6072053, -5.2237501616674e2],
        [1.3629480, -1.1790629318198e3],
        [5.5657014, -1.0977134971135e3],
        [5.0708205, -1.5774000881978e2],
        [3.9318944, 5.2963464780000e1],
        [4.8989497, 3.9809289073258e1],
        [1.3097446, 7.7540959633708e1],
        [3.5147141, 7.9618578146517e1],
        [3.5413158, -5.4868336758022e2],
    ]
)
_PERTURBATION_AMPLITUDES = np.array(
    [
        [-2.279594e-5, 1.407414e-5, 8.273188e-6, 1.340565e-5, -2.490817e-7],
        [-3.494537e-5, 2.860401e-7, 1.289448e-7, 1.627237e-5, -1.823138e-7],
        [6.593466e-7, 1.322572e-5, 9.258695e-6, -4.674248e-7, -3.646275e-7],
        [1.140767e-5, -2.049792e-5, -4.747930e-6, -2.638763e-6, -1.245408e-7],
        [9.516893e-6, -2.748894e-6, -1.319381e-6, -4.549908e-6, -1.864821e-7],
        [7.310990e-6, -1.924710e-6, -8.772849e-7, -3.334143e-6, -1.745256e-7],
        [-2.603449e-6, 7.359472e-6, 3.168357e-6, 1.119056e-6, -1.655307e-7],
        [-3.228859e-6, 1.308997e-7, 1.013137e-7, 2.403899e-6, -3.736225e-7],
        [3.442177e-7, 2.671323e-6, 1.832858e-6, -2.394688e-7, -3.478444e-7],
        [8.702406e-6, -8.421214e-6, -1.372341e-6, -1.455234e-6, -4.998479e-8],
        [-1.488378e-6, -1.251789e-5, 5.226868e-7, -2.049301e-7, 0.0],
        [-8.043059e-6, -2.991300e-6, 1.473654e-7, -3.154542e-7, 0.0],
        [3.699128e-6, -3.316126e-6, 2.901257e-7, 3.407826e-7, 0.0],
        [2.550120e-6, -1.241123e-6, 9.901116e-8, 2.210482e-7, 0.0],
        [-6.351059e-7, 2.341650e-6, 1.061492e-6, 2.878231e-7, 0.0],
    ]
)
_SECULAR = np.array(
    [
        [1.289600e-6, 5.550147e-1, 2.076942],
        [3.102810e-5, 4.035027, 3.525565e-1],
        [9.124190e-6, 9.990265e-1, 2.622706],
        [9.793240e-7, 5.508259, 1.559103e1],
    ]
)
_SECULAR_MIXED = -7.757020e-8
_SIDEREAL_RATE_LONGITUDE = 1.990987e-7
_SIDEREAL_RATE_ANOMALY = 1.990969e-7
_MOON_DISTANCE = 3.122140e-5
_MOON_LONGITUDE_RATE = 2.661699e-6
_MOON_LATITUDE_RATE = 2.399485e-7
_MOON_ARGUMENTS = np.array(
    [[5.1679830, 8.3286911095275e3], [5.4913150, -7.2140632838100e3], [5.9598530, 1.5542754389685e4]]
)
_MOON_AMPLITUDES = np.array(
    [
        [1.097594e-1, 2.896773e-7, 5.450474e-2, 1.438491e-7],
        [-2.223581e-2, 5.083103e-8, 1.002548e-2, -2.291823e-8],
        [1.148966e-2, 5.658888e-8, 8.249439e-3, 4.063015e-8],
    ]
)
_PLANET_SPEEDS = np.array([8.326827e-11, 1.843484e-11, 1.988712e-12, 1.881276e-12])


def earth_velocity(julian_date: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Heliocentric and barycentric velocity of the Earth's centre.

    Parameters
    ----------
    julian_date : float
        Julian date of the observation.

    Returns
    -------
    heliocentric, barycentric : float64[3]
        Velocity in km/s in the mean equatorial frame of J2000.
    """
    t = (julian_date - _JD_1900) / _CENTURY_DAYS
    powers = np.array([1.0, t, t * t])
    fast = np.mod(_FAST_ELEMENTS @ powers, 2 * math.pi)
    slow = np.mod(_SLOW_ELEMENTS @ powers, 2 * math.pi)
    obliquity = float(_OBLIQUITY @ powers)
    helio = _barycentre_velocity(t, fast[0], fast[1], slow[0]) + _moon_reflex(t, fast[2], fast[3])
    bary = helio * _EMB_MASS_COMPLEMENT + _sun_reflex(fast[4:8], slow)
    rotation = precession_matrix(besselian_epoch(julian_date)).T @ _ecliptic_to_equator(obliquity)
    return rotation @ helio * AU_KM, rotation @ bary * AU_KM


def _barycentre_velocity(t: float, longitude: float, anomaly: float, ecc: float) -> npt.NDArray[np.float64]:
    """Heliocentric velocity of the Earth-Moon barycentre in the ecliptic of date [au/s]."""
    secular = np.sin(_SECULAR[:, 1] + t * _SECULAR[:, 2])
    d_longitude = float(_SECULAR[:, 0] @ secular) + t * _SECULAR_MIXED * secular[2]
    argument = np.mod(_PERTURBATION_ARGUMENTS @ np.array([1.0, t]), 2 * math.pi)
    cos_a, sin_a = np.cos(argument), np.sin(argument)
    amp = _PERTURBATION_AMPLITUDES
    d_longitude += float(amp[:, 0] @ cos_a + amp[:, 1] @ sin_a)
    d_radius = float(amp[:, 2] @ cos_a + amp[:, 3] @ sin_a)
    longitude_rate = float(((amp[:, 1] * cos_a - amp[:, 0] * sin_a) * amp[:, 4]).sum())
    radius_rate = float(((amp[:, 3] * cos_a - amp[:, 2] * sin_a) * amp[:, 4]).sum())

    # equation of the centre to third order in the eccentricity
    centre = (ecc * ecc / 4) * (
        (8 / ecc - ecc) * math.sin(anomaly)
        + 5 * math.sin(2 * anomaly)
        + (13 / 3) * ecc * math.sin(3 * anomaly)
    )
    true_anomaly = anomaly + centre
    sin_f, cos_f = math.sin(true_anomaly), math.cos(true_anomaly)
    radius = (1 - ecc * ecc) / (1 + ecc * cos_f)
    centre_rate = (
        2 * ecc * _SIDEREAL_RATE_ANOMALY * ((1 + 1.5 * ecc**2) * cos_f + ecc * (1.25 - 0.5 * sin_f**2))
    )
    radial_rate = _SIDEREAL_RATE_ANOMALY * ecc * sin_f / math.sqrt(1 - ecc * ecc)

    v_radial = (1 + d_radius) * (radial_rate + radius * radius_rate)
    v_along = (1 + d_radius) * radius * (_SIDEREAL_RATE_LONGITUDE + centre_rate + longitude_rate)
    true_longitude = longitude + centre + d_longitude
    sin_l, cos_l = math.sin(true_longitude), math.cos(true_longitude)
    return np.array([v_radial * cos_l - v_along * sin_l, v_radial * sin_l + v_along * cos_l, 0.0])


def _moon_reflex(t: float, longitude: float, latitude_argument: float) -> npt.NDArray[np.float64]:
    """Motion of the Earth about the Earth-Moon barycentre in the ecliptic of date [au/s]."""
    argument = np.mod(_MOON_ARGUMENTS @ np.array([1.0, t]), 2 * math.pi)
    cos_a, sin_a = np.cos(argument), np.sin(argument)
    amp = _MOON_AMPLITUDES
    moon_longitude = longitude + float(amp[:, 0] @ sin_a)
    longitude_rate = float(amp[:, 1] @ cos_a)
    parallax = float(amp[:, 2] @ cos_a)
    parallax_rate = -float(amp[:, 3] @ sin_a)
    sigma = _MOON_DISTANCE / (1 + parallax)
    along = sigma * (_MOON_LONGITUDE_RATE + longitude_rate)
    radial = sigma * parallax_rate
    sin_l, cos_l = math.sin(moon_longitude), math.cos(moon_longitude)
    return np.array(
        [
            along * sin_l + radial * cos_l,
            -along * cos_l + radial * sin_l,
            -sigma * _MOON_LATITUDE_RATE * math.cos(latitude_argument),
        ]
    )


def _sun_reflex(longitude: npt.NDArray[np.float64], slow: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Motion of the Sun about the barycentre, from the four giant planets, in the ecliptic of date [au/s]."""
    perihelion, node, ecc, inclination = slow[1:5], slow[5:9], slow[9:13], slow[13:17]
    true_longitude = longitude + 2 * ecc * np.sin(longitude - perihelion)
    return np.array(
        [
            float(_PLANET_SPEEDS @ (np.sin(true_longitude) + ecc * np.sin(perihelion))),
            -float(_PLANET_SPEEDS @ (np.cos(true_longitude) + ecc * np.cos(perihelion))),
            -float(_PLANET_SPEEDS @ (inclination * np.cos(longitude - node))),
        ]
    )


def _ecliptic_to_equator(obliquity: float) -> npt.NDArray[np.float64]:
    sin_e, cos_e = math.sin(obliquity), math.cos(obliquity)
    return np.array([[1.0, 0.0, 0.0], [0.0, cos_e, -sin_e], [0.0, sin_e, cos_e]])


def besselian_epoch(julian_date: float) -> float:
    """Besselian epoch of a Julian date (Lieske 1979, A&A 73, 282).

    >>> round(besselian_epoch(2451545.0), 6)
    2000.001278
    """
    return 1900.0 + (julian_date - 2415020.31352) / 365.242198781


def precession_matrix(epoch: float) -> npt.NDArray[np.float64]:
    """Rotation from the mean equator of 2000 to that of an epoch (Simon et al. 1994, A&A 282, 663).

    The C pipeline puts Besselian epochs into this formula, made for Julian ones; measured against 2.8.7 to
    1e-4 arcsec for 2000 and 2017.  The difference (0.06 arcsec) is far below what velocities need.
    """
    t = (epoch - 2000.0) / 1000.0
    arcsec = math.pi / 648000
    zeta = np.polyval([-0.0285, -0.0583, 18.0183, 30.2226, 23060.9097, 0.0], t) * arcsec
    z = np.polyval([-0.0301, -0.2821, 18.2667, 109.5270, 23060.9097, 0.0], t) * arcsec
    theta = np.polyval([0.0127, -0.0731, -41.8238, -42.6566, 20042.0207, 0.0], t) * arcsec
    return _rotation_z(-float(z)) @ _rotation_y(float(theta)) @ _rotation_z(-float(zeta))


def _rotation_z(angle: float) -> npt.NDArray[np.float64]:
    s, c = math.sin(angle), math.cos(angle)
    return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


def _rotation_y(angle: float) -> npt.NDArray[np.float64]:
    s, c = math.sin(angle), math.cos(angle)
    return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


def greenwich_sidereal_time(julian_date: float) -> float:
    """Greenwich mean sidereal time [rad] for a UT1 Julian date (Newcomb's expression, as in the C pipeline).

    The modern one (IAU 1982) is 0.08 s larger in 2000, which changes the diurnal velocity by 3e-6 km/s.
    """
    midnight = math.floor(julian_date - 0.5) + 0.5
    t = (midnight - _JD_1900) / _CENTURY_DAYS
    seconds = 23925.836 + (8640184.542 + 0.0929 * t) * t
    seconds += (julian_date - midnight) * 86400.0 * _SIDEREAL_RATE
    return seconds % 86400.0 / 86400.0 * 2 * math.pi


def diurnal_velocity(
    julian_date: float, ra: float, dec: float, latitude: float, east_longitude: float, elevation: float
) -> float:
    """Velocity of an observatory towards a source by the rotation of the Earth [km/s].

    Parameters
    ----------
    julian_date : float
        Julian date (UT1).
    ra, dec : float
        Position of the source in the equinox of date [rad].
    latitude, east_longitude : float
        Geodetic latitude and longitude (positive to the east) [rad].
    elevation : float
        Height above the ellipsoid [m].

    Returns
    -------
    float
        Positive if the observer moves towards the source.
    """
    equatorial_radius, flattening = 6378.14, 1 / 298.257
    sin_lat, cos_lat = math.sin(latitude), math.cos(latitude)
    curvature = equatorial_radius / math.sqrt(cos_lat**2 + (1 - flattening) ** 2 * sin_lat**2)
    # the elevation is added along the geocentric radius, as in the C pipeline (agreement 4e-8 km/s)
    x, z = curvature * cos_lat, curvature * (1 - flattening) ** 2 * sin_lat
    axis_distance = (math.hypot(x, z) + elevation / 1000) * math.cos(math.atan2(z, x))
    speed = 2 * math.pi / (86400.0 / _SIDEREAL_RATE) * axis_distance
    hour_angle = greenwich_sidereal_time(julian_date) + east_longitude - ra
    return -speed * math.cos(dec) * math.sin(hour_angle)
