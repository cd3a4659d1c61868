# SPDX-License-Identifier: BSD-3-Clause
import logging

import numpy as np
import pytest

from muse_core.data.header_values import Keywords, get_float, is_narrow_field, uses_laser_guide_stars
from muse_core.postproc.exposure.pointing import (
    airmass,
    airmass_at,
    parallactic_angle,
    position_angle,
    replaced_pointing,
)

POINTING = {"RA": 150.0, "DEC": -24.6, "LST": 36000.0, "EXPTIME": 0.0, "ESO TEL GEOLAT": -24.6}


@pytest.mark.unit
def test_position_angle_sign_follows_the_derotator_mode(caplog):
    assert position_angle(Keywords({"ESO INS DROT POSANG": 30.0, "ESO INS DROT MODE": "SKY"})) == -30.0
    assert position_angle(Keywords({"ESO INS DROT POSANG": 30.0, "ESO INS DROT MODE": "STAT"})) == 30.0
    assert not caplog.records
    assert position_angle(Keywords({"ESO INS DROT POSANG": 30.0, "ESO INS DROT MODE": "ELEV"})) == 30.0
    assert position_angle(Keywords({"ESO INS DROT POSANG": 30.0})) == 30.0
    assert len(caplog.records) == 2


@pytest.mark.unit
def test_integer_keywords_count_as_missing_only_on_request():
    header = {"ESO INS DROT POSANG": 45, "ESO INS DROT MODE": "SKY"}
    assert position_angle(Keywords(header)) == -45.0
    assert position_angle(Keywords(header, integers_missing=True)) == 0.0


@pytest.mark.unit
@pytest.mark.parametrize("value", [None, "12", True, float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_missing(value):
    assert get_float({"X": value}, "X") is None


@pytest.mark.unit
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (10.0, 12.0, 11.0),
        (-3.0, 5.0, 1.0),
        (170.0, -178.0, 176.0),  # across the jump, nearer to 0 is the start
        (-178.0, 170.0, 176.0),
        (-170.0, 178.0, -176.0),
        (175.0, -175.0, -180.0),  # equal distance: sign of the end
        (50.0, -39.9, 5.05),  # less than 90 deg apart: plain mean
        (50.0, -40.0, -135.0 - 40.0),  # 90 deg and more: taken across the jump
    ],
)
def test_parallactic_angle(start, end, expected):
    angle = parallactic_angle(Keywords({"ESO TEL PARANG START": start, "ESO TEL PARANG END": end}))
    assert angle == pytest.approx(expected, abs=1e-12)


@pytest.mark.unit
def test_parallactic_angle_needs_both_keywords():
    assert parallactic_angle(Keywords({"ESO TEL PARANG START": 1.0})) is None


@pytest.mark.unit
def test_airmass_in_the_zenith_is_one():
    assert airmass(Keywords(POINTING)) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.unit
def test_airmass_is_the_weighted_mean_of_three_moments():
    header = POINTING | {"EXPTIME": 7200.0, "DEC": 0.0, "ESO TEL GEOLAT": 0.0}
    cosines = np.cos(np.radians([0.0, 15.0, 30.0]))
    x = [airmass_at(c) for c in cosines]
    assert airmass(Keywords(header)) == pytest.approx((x[0] + 4 * x[1] + x[2]) / 6, rel=1e-14)


@pytest.mark.unit
def test_airmass_falls_back_to_the_recorded_values(caplog):
    header = {"ESO TEL AIRM START": 1.2, "ESO TEL AIRM END": 1.4}
    assert airmass(Keywords(header)) == pytest.approx(1.3)
    assert "missing RA, DEC, LST, EXPTIME" in caplog.text
    assert airmass(Keywords({})) == -1.0


@pytest.mark.unit
def test_airmass_below_the_horizon(caplog):
    header = POINTING | {"LST": 0.0}
    assert airmass(Keywords(header)) == -1.0
    assert "below the horizon" in caplog.text
    assert airmass(Keywords(header | {"ESO TEL AIRM START": 1.2, "ESO TEL AIRM END": 1.4})) == pytest.approx(
        1.3
    )


@pytest.mark.unit
def test_airmass_outside_of_the_recorded_range_is_used_with_a_warning(caplog):
    header = POINTING | {"ESO TEL AIRM START": 1.2, "ESO TEL AIRM END": 1.4}
    with caplog.at_level(logging.WARNING):
        assert airmass(Keywords(header)) == pytest.approx(1.0)
    assert "NOT in the range" in caplog.text


@pytest.mark.unit
def test_instrument_modes():
    assert is_narrow_field({"ESO INS MODE": "NFM-AO-N"})
    assert not is_narrow_field({"ESO INS MODE": "WFM-AO-N"})
    assert not is_narrow_field({})
    assert uses_laser_guide_stars({"ESO INS MODE": "WFM-AO-E"})
    assert not uses_laser_guide_stars({"ESO INS MODE": "WFM-NOAO-N"})


@pytest.mark.unit
def test_replaced_pointing():
    assert replaced_pointing(()) == {}
    assert replaced_pointing((10.5, -20.0, 30.0)) == {"RA": 10.5, "DEC": -20.0, "ESO INS DROT POSANG": 30.0}
