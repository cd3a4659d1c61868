# SPDX-License-Identifier: BSD-3-Clause
import math

import numpy as np
import pytest

from muse_core.data.header_values import Keywords
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.velocity.earth_motion import diurnal_velocity, earth_velocity, greenwich_sidereal_time
from muse_core.postproc.velocity.radial_velocity import apply_radial_velocity, fit_radial_velocity

pytestmark = pytest.mark.kernel

HEADER = {
    "RA": 150.1,
    "DEC": -30.2,
    "EQUINOX": 2000.0,
    "MJD-OBS": 57800.25,
    "EXPTIME": 600.0,
    "ESO TEL GEOLAT": -24.627,
    "ESO TEL GEOLON": -70.404,
    "ESO TEL GEOELEV": 2648.0,
}

# measured with the C pipeline 2.8.7 for Paranal: changes to HEADER, kind, velocity [km/s]
MEASURED = [
    ({}, "bary", 7.29520088208606),
    ({"RA": 150.100533523724, "DEC": -30.2002833333333, "MJD-OBS": 57800.26}, "bary", 7.31318415070311),
    (
        {"RA": 85.6672657530809, "DEC": -20.134785217445298, "MJD-OBS": 58164.79824946636, "EXPTIME": 1800.0},
        "geo",
        -0.348922769840946,
    ),
    (
        {"RA": 85.6672657530809, "DEC": -20.134785217445298, "MJD-OBS": 58164.79824946636, "EXPTIME": 1800.0},
        "helio",
        -19.6295628911922,
    ),
    (
        {"RA": 93.36744515808275, "DEC": -54.223594284863395, "MJD-OBS": 60980.40175979708, "EXPTIME": 900.0},
        "geo",
        -0.0667292427703414,
    ),
    (
        {"RA": 93.36744515808275, "DEC": -54.223594284863395, "MJD-OBS": 60980.40175979708, "EXPTIME": 900.0},
        "bary",
        5.50129706278869,
    ),
    (
        {
            "RA": 266.85066823253646,
            "DEC": -6.144737709344824,
            "MJD-OBS": 56788.14147202149,
            "EXPTIME": 1800.0,
        },
        "geo",
        -0.420163833156646,
    ),
    (
        {
            "RA": 266.85066823253646,
            "DEC": -6.144737709344824,
            "MJD-OBS": 56788.14147202149,
            "EXPTIME": 1800.0,
        },
        "helio",
        16.6351715614337,
    ),
    (
        {
            "RA": 283.71918776329994,
            "DEC": -33.03716254647096,
            "MJD-OBS": 59776.56687873669,
            "EXPTIME": 1800.0,
            "EQUINOX": 1975.0,
        },
        "geo",
        0.337440270045176,
    ),
    (
        {
            "RA": 283.71918776329994,
            "DEC": -33.03716254647096,
            "MJD-OBS": 59776.56687873669,
            "EXPTIME": 1800.0,
            "EQUINOX": 1975.0,
        },
        "bary",
        -5.58385176197746,
    ),
]


@pytest.mark.unit
def test_earth_velocity_against_erfa():
    import erfa

    km_per_s = 149597870.7 / 86400
    for jd in np.arange(2451545.0, 2463000.0, 211.3):
        modern_helio, modern_bary = erfa.epv00(jd, 0.0)
        helio, bary = earth_velocity(jd)
        # Stumpff gives 0.42 m/s for the largest error of his velocities
        np.testing.assert_allclose(helio, modern_helio["v"] * km_per_s, atol=6e-4)
        np.testing.assert_allclose(bary, modern_bary["v"] * km_per_s, atol=6e-4)


@pytest.mark.unit
def test_sidereal_time_of_an_epoch():
    # example of Meeus (1987 April 10, 0h UT) with the modern expression; Newcomb's is 0.07 s smaller
    degrees = math.degrees(greenwich_sidereal_time(2446895.5))
    assert degrees == pytest.approx(197.693195 - 0.0667 / 240, abs=1e-6)


@pytest.mark.unit
def test_observer_moves_towards_a_rising_source():
    jd = 2457800.5
    sidereal = greenwich_sidereal_time(jd)
    rising = diurnal_velocity(jd, sidereal + math.pi / 2, 0.0, 0.0, 0.0, 0.0)
    assert rising == pytest.approx(2 * math.pi * 6378.14 / 86164.0989, rel=1e-6)
    assert diurnal_velocity(jd, sidereal - math.pi / 2, 0.0, 0.0, 0.0, 0.0) == pytest.approx(-rising)
    assert diurnal_velocity(jd, sidereal, 0.0, 0.0, 0.0, 0.0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.unit
@pytest.mark.parametrize(("changes", "kind", "velocity"), MEASURED)
def test_velocity_of_the_c_pipeline(changes, kind, velocity):
    model = fit_radial_velocity(Keywords(HEADER | changes), kind, longitude_positive_west=True)
    assert model.velocity == pytest.approx(velocity, abs=2e-7)


@pytest.mark.unit
def test_longitude_is_positive_to_the_east():
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    with iers.conf.set_temp("auto_download", False):
        site = EarthLocation.from_geodetic(-70.404, -24.627, 2648.0)
        source = SkyCoord(150.1, -30.2, unit="deg", frame="icrs")
        when = Time(57800.25 + 300.0 / 86400, format="mjd", scale="utc", location=site)
        expected = source.radial_velocity_correction("barycentric", obstime=when).to_value("km/s")
    # astropy adds time dilation and gravitational shift, together 3 to 5 m/s
    assert fit_radial_velocity(Keywords(HEADER), "bary").velocity == pytest.approx(expected, abs=6e-3)
    west = fit_radial_velocity(Keywords(HEADER), "bary", longitude_positive_west=True)
    assert abs(west.velocity - expected) > 0.02


@pytest.mark.unit
def test_geocentric_part_is_the_difference_to_the_motion_of_the_earth():
    geo = fit_radial_velocity(Keywords(HEADER), "geo").velocity
    assert abs(geo) < 0.47
    away = {key: value for key, value in HEADER.items() if "GEO" not in key}
    assert fit_radial_velocity(Keywords(away), "geo").velocity == pytest.approx(
        geo, abs=1e-3
    )  # default is Paranal


@pytest.mark.unit
@pytest.mark.parametrize("key", ["RA", "DEC", "EQUINOX", "MJD-OBS", "EXPTIME"])
def test_missing_keywords(key):
    skipped = fit_radial_velocity(Keywords(HEADER | {key: None}), "bary")
    assert skipped == Skipped("velocity", f"header lacks {key}", wanted=True, cards=skipped.cards)
    assert skipped.cards[0][:2] == ("SPECSYS", "TOPOCENT")


@pytest.mark.unit
def test_none_and_repeated_corrections():
    skipped = fit_radial_velocity(Keywords(HEADER), "none")
    assert (skipped.reason, skipped.cards[0][1]) == ("rvcorr=none", "TOPOCENT")
    skipped = fit_radial_velocity(Keywords(HEADER | {"ESO DRS MUSE PIXTABLE RVCORR": 3.0}), "bary")
    assert (skipped.earlier, skipped.cards) == (True, ())
    with pytest.raises(ValueError, match="unknown kind"):
        fit_radial_velocity(Keywords(HEADER), "galactic")


@pytest.mark.unit
def test_wavelengths_are_shifted_relativistically():
    model = fit_radial_velocity(Keywords(HEADER), "helio")
    lam = np.float32([5000.0, 9000.0])
    expected = (lam.astype(float) * model.factor).astype(np.float32)
    apply_radial_velocity(lam, model)
    np.testing.assert_array_equal(lam, expected)
    beta = model.velocity / 299792.458
    assert model.factor == pytest.approx(1 + beta + beta**2 / 2, rel=1e-12)
    assert ("SPECSYS", "HELIOCEN", "Spectral reference frame") in model.cards()
