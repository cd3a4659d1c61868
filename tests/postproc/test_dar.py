# SPDX-License-Identifier: BSD-3-Clause
import dataclasses

import numpy as np
import pytest
from postproc_golden import golden, load_table

from muse_core.data.header_values import Keywords
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.postproc.refraction.dar import (
    SKIPPED_CARD,
    DarModel,
    apply_dar,
    fit_dar,
    read_air,
)
from muse_core.postproc.refraction.refractive_index import (
    Air,
    refractive_index,
    saturation_pressure_iapws,
    saturation_pressure_owens,
)

pytestmark = pytest.mark.kernel

HEADER = {
    "RA": 150.1,
    "DEC": -30.2,
    "LST": 43944.0,
    "EXPTIME": 600.0,
    "ESO TEL GEOLAT": -24.627,
    "ESO INS MODE": "WFM-NOAO-N",
    "ESO INS DROT MODE": "SKY",
    "ESO INS DROT POSANG": 25.0,
    "ESO TEL PARANG START": 87.3,
    "ESO TEL PARANG END": 88.7,
    "ESO TEL AIRM START": 1.15,
    "ESO TEL AIRM END": 1.18,
    "ESO TEL AMBI TEMP": 11.5,
    "ESO TEL AMBI RHUM": 14.5,
    "ESO TEL AMBI PRES START": 743.0,
    "ESO TEL AMBI PRES END": 743.1,
}


@pytest.mark.unit
def test_published_value_of_standard_air():
    # n = 1.00027653 at 5876 A, 15 deg C, 760 mmHg, dry (Filippenko's formulae reduce to Edlen 1953 there)
    index = refractive_index("Filippenko", Air(15.0, 0.0, 1013.25))
    s = 1 / 0.5876**2
    expected = 1e-6 * (64.328 + 29498.1 / (146 - s) + 255.4 / (41 - s))
    assert index.refractivity(5876.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.unit
@pytest.mark.parametrize("method", ["Owens", "Edlen", "Ciddor", "Filippenko"])
def test_formulae_agree_with_each_other(method):
    # the formulae of the literature differ by some 1e-8 in n for such air
    air = Air(11.5, 14.5, 743.0)
    reference = refractive_index("Ciddor", air)
    index = refractive_index(method, air)
    for wavelength in (4650.0, 7000.0, 9300.0):
        assert index.refractivity(wavelength) == pytest.approx(reference.refractivity(wavelength), abs=3e-7)
        dispersion = index.refractivity(4650.0) - index.refractivity(wavelength)
        expected = reference.refractivity(4650.0) - reference.refractivity(wavelength)
        assert dispersion == pytest.approx(expected, rel=0.01)


@pytest.mark.unit
def test_ciddor_against_the_tabulated_value():
    # table of Stone and Zimmerman (NIST): 20 deg C, 101.325 kPa, 50 % humidity, 633 nm
    index = refractive_index("Ciddor", Air(20.0, 50.0, 1013.25))
    assert index.refractivity(6330.0) == pytest.approx(2.71375e-4, abs=3e-8)
    edlen = refractive_index("Edlen", Air(20.0, 50.0, 1013.25))
    assert edlen.refractivity(6330.0) == pytest.approx(index.refractivity(6330.0), abs=3e-8)


@pytest.mark.unit
def test_water_term_of_edlen_is_ten_times_too_large_only_on_request():
    moist, dry = Air(11.5, 80.0, 743.0), Air(11.5, 0.0, 743.0)

    def water(tenfold):
        with_vapour, without = (
            refractive_index("Edlen", air, water_vapour_tenfold=tenfold).refractivity(5000.0)
            for air in (moist, dry)
        )
        return with_vapour - without

    assert water(tenfold=True) == pytest.approx(10 * water(tenfold=False), rel=1e-9)


@pytest.mark.unit
def test_saturation_pressures():
    assert saturation_pressure_iapws(0.01) == pytest.approx(611.657, rel=1e-6)
    assert saturation_pressure_iapws(-0.0001) == pytest.approx(611.15, rel=1e-4)  # over ice
    # the published coefficients of the polynomial are rounded: 0.005 * 283 K = 1.4 hPa
    assert saturation_pressure_owens(283.15) == pytest.approx(saturation_pressure_iapws(10.0) / 100, abs=1.4)


@pytest.mark.unit
def test_rows_at_the_reference_wavelength_stay_in_place():
    model = fit_dar(Keywords(HEADER), 7000.0, method="Filippenko")
    x, y = np.float32([1.5, 100.25]), np.float32([-3.0, 7.5])
    apply_dar(x, y, np.float32([7000.0, 7000.0]), model)
    np.testing.assert_array_equal(x, np.float32([1.5, 100.25]))
    np.testing.assert_array_equal(y, np.float32([-3.0, 7.5]))


@pytest.mark.unit
def test_kernel_against_the_formula():
    model = fit_dar(Keywords(HEADER), 7000.0, method="Filippenko")
    lam = np.linspace(4650, 9300, 50).astype(np.float32)
    x, y = np.zeros(50, np.float32), np.zeros(50, np.float32)
    apply_dar(x, y, lam, model)
    dn = model.index.refractivity(7000.0) - np.array([model.index.refractivity(v) for v in lam.astype(float)])
    shift = dn * np.tan(np.arccos(1 / model.airmass)) * 206264.80625 / 0.2
    angle = np.radians(88.0 - 25.0)
    np.testing.assert_array_equal(x, (-np.sin(angle) * shift).astype(np.float32))
    np.testing.assert_array_equal(y, (np.cos(angle) * shift).astype(np.float32))
    assert np.hypot(x, y).max() > 1.0


@pytest.mark.unit
@pytest.mark.parametrize(
    ("changes", "reference", "reason"),
    [
        ({}, -1.0, "lambdaref is negative"),
        ({"ESO INS MODE": "NFM-AO-N"}, 7000.0, "narrow-field mode"),
        ({"ESO DRS MUSE PIXTABLE DAR CORRECT": 7000.0}, 7000.0, "made before"),
        ({"RA": None}, 7000.0, "laboratory data? no RA"),
        ({"EXPTIME": None}, 7000.0, "laboratory data? no EXPTIME"),
        ({"LST": 0.0}, 7000.0, "laboratory data? object below the horizon"),
        ({"ESO TEL PARANG END": None}, 7000.0, "no ESO TEL PARANG START, END"),
        ({"ESO INS DROT POSANG": None}, 7000.0, "no ESO INS DROT MODE, POSANG"),
    ],
)
def test_no_correction(changes, reference, reason):
    skipped = fit_dar(Keywords(HEADER | changes), reference)
    assert isinstance(skipped, Skipped)
    assert skipped.reason == reason


@pytest.mark.unit
def test_missing_site_or_sidereal_time_stops_the_correction_only_on_request():
    for key in ("LST", "ESO TEL GEOLAT"):
        header = Keywords(HEADER | {key: None})
        assert isinstance(fit_dar(header, 7000.0), DarModel)
        assert isinstance(fit_dar(header, 7000.0, lab_air_without_latitude=True), Skipped)


@pytest.mark.unit
def test_missing_weather_is_replaced(caplog):
    header = HEADER | {"ESO TEL AMBI TEMP": None, "ESO TEL AMBI RHUM": None, "ESO TEL AMBI PRES END": None}
    assert read_air(Keywords(header)) == Air(11.5, 14.5, 743.0)
    assert len(caplog.records) == 3


@pytest.mark.unit
def test_header_cards():
    limits = RowLimits((1.0, 2.0), (3.0, 4.0), (4800.0, 9300.0), (1, 24), (1, 48))
    cards = dataclasses.replace(fit_dar(Keywords(HEADER), 7000.0), before=limits).cards()
    assert cards[0][:2] == ("ESO DRS MUSE PIXTABLE DAR CORRECT", 7000.0)
    assert cards[4][:2] == ("ESO DRS MUSE PIXTABLE PREDAR LIMITS YHI", 4.0)


@pytest.mark.unit
def test_card_of_a_correction_that_was_switched_off():
    assert fit_dar(Keywords(HEADER), -1.0).cards == (SKIPPED_CARD,)
    assert SKIPPED_CARD[1] == -1.0
    for changes in ({"ESO INS MODE": "NFM-AO-N"}, {"RA": None}):
        assert fit_dar(Keywords(HEADER | changes), -1.0).cards == ()


@pytest.mark.law
def test_result_does_not_depend_on_the_block_size():
    rng = np.random.default_rng(1)
    lam = rng.uniform(4650, 9300, 1000).astype(np.float32)
    x, y = rng.uniform(0, 300, (2, 1000)).astype(np.float32)
    model = fit_dar(Keywords(HEADER), 7000.0, method="Filippenko")
    whole = x.copy(), y.copy()
    apply_dar(*whole, lam, model)
    for part in np.array_split(np.arange(1000), 7):
        block = slice(part[0], part[-1] + 1)
        apply_dar(x[block], y[block], lam[block], model)
    np.testing.assert_array_equal(x, whole[0])
    np.testing.assert_array_equal(y, whole[1])


@pytest.mark.golden
@pytest.mark.parametrize(
    ("method", "run"),
    [("Filippenko", "default"), ("Owens", "Owens"), ("Edlen", "Edlen"), ("Ciddor", "Ciddor")],
)
def test_bit_identical_to_the_c_pipeline(method, run):
    header, table = load_table(golden("refraction", "PIXTABLE_OBJECT_0001-10.fits"))
    product, peer = load_table(golden("refraction", f"out_{run}", "PIXTABLE_REDUCED_0001.fits"))
    before = table["xpos"].copy()
    limits = RowLimits(
        (before.min(), before.max()), (table["ypos"].min(), table["ypos"].max()), (0, 0), (0, 0), (0, 0)
    )
    model = fit_dar(Keywords(header), 7000.0, method=method, water_vapour_tenfold=True)
    model = dataclasses.replace(model, before=limits)
    apply_dar(table["xpos"], table["ypos"], table["lambda"], model)
    np.testing.assert_array_equal(table["xpos"], peer["xpos"])
    np.testing.assert_array_equal(table["ypos"], peer["ypos"])
    assert np.ptp(table["xpos"] - before) > 4.0
    for key, value, _ in model.cards():
        assert product[key] == pytest.approx(value, rel=1e-6)  # limits are written with 7 digits
