# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest

from muse_core.framework import RecipeError
from muse_core.postproc.flatfield.spectrum import (
    RANGES,
    SmoothingRange,
    apply_flat_spectrum,
    fit_flat_spectrum,
    response_wants_flat,
    smooth_spectrum,
)

pytestmark = pytest.mark.kernel

MODE = "WFM-NOAO-N"

# C pipeline 2.8.7, spectrum of `measured_spectrum`: data of rows of 1 at 4702.5, 4762.5, ... Angstrom
MEASURED = [
    12.48497486114502,
    10.497995376586914,
    9.77657413482666,
    9.234091758728027,
    9.029861450195312,
    9.208426475524902,
    9.729692459106445,
    10.357824325561523,
    10.83509349822998,
    10.958809852600098,
    10.673039436340332,
    10.101346969604492,
    9.499180793762207,
    9.105642318725586,
    9.06544017791748,
]


def measured_spectrum():
    lam = np.arange(4700.0, 5600.0, 5.0)
    rng = np.random.default_rng(11)
    values = 10 + np.sin(lam / 90) + rng.normal(0, 0.1, lam.size)
    values[::37] += 3
    return lam, values


def rows(lam):
    lam = np.asarray(lam, np.float32)
    return lam, np.ones(lam.size, np.float32), np.ones(lam.size, np.float32)


@pytest.mark.unit
def test_smoothing_of_the_c_pipeline():
    model = fit_flat_spectrum([measured_spectrum()], MODE)
    lam, data, stat = rows(np.arange(4702.5, 5590, 60.0))
    apply_flat_spectrum(lam, data, stat, model)
    np.testing.assert_allclose(data, MEASURED, rtol=1.3e-7)  # float32
    np.testing.assert_allclose(stat, np.square(MEASURED), rtol=3e-7)


@pytest.mark.unit
def test_average_of_the_ifus():
    lam = np.arange(4800.0, 5000.0, 1.25)
    model = fit_flat_spectrum([(lam, np.full(lam.size, 1.0)), (lam, np.full(lam.size, 3.0))], MODE)
    wavelengths, data, stat = rows([4850.0, 4999.0])
    apply_flat_spectrum(wavelengths, data, stat, model)
    np.testing.assert_allclose(data, 2.0, rtol=1e-6)
    np.testing.assert_allclose(stat, 4.0, rtol=1e-6)
    shifted = lam + 10.3
    model = fit_flat_spectrum([(lam, np.ones(lam.size)), (shifted, np.full(lam.size, 3.0))], MODE)
    assert model.curve.covers[0] == 4810.3
    assert model.curve.covers[1] <= lam[-1]
    assert model.cards()[0][:2] == ("ESO DRS MUSE PIXTABLE FFCORR", 2)


@pytest.mark.unit
def test_spectra_that_do_not_overlap():
    spectrum = measured_spectrum()
    with pytest.raises(RecipeError, match="in common"):
        fit_flat_spectrum([spectrum, (spectrum[0] + 2000, spectrum[1])], MODE)


@pytest.mark.law
def test_smooth_curves_stay_as_they_are():
    lam = np.arange(4600.0, 6000.0, 1.25)
    curve = 5 + 1e-3 * (lam - 5000) + 1e-6 * (lam - 5000) ** 2
    smooth = smooth_spectrum(lam, curve, SmoothingRange(4700.0))
    # the running mean of a parabola adds its curvature times the variance of the window
    np.testing.assert_allclose(smooth, curve, atol=1.1e-6 * 81)
    np.testing.assert_array_equal(smooth[lam < 4700], curve[lam < 4700])


@pytest.mark.unit
def test_outliers_do_not_count():
    lam = np.arange(4800.0, 5400.0, 1.25)
    spectrum = np.full(lam.size, 7.0)
    spectrum[200] = 700.0
    np.testing.assert_allclose(smooth_spectrum(lam, spectrum, RANGES["WFM-NOAO-N"]), 7.0, rtol=1e-12)


@pytest.mark.unit
def test_gap_of_the_notch_filter_separates_the_parts():
    lam = np.arange(5500.0, 6300.0, 1.25)
    spectrum = np.where(lam < 5900, 1.0, 100.0)
    smooth = smooth_spectrum(lam, spectrum, RANGES["WFM-AO-N"])
    np.testing.assert_allclose(smooth, spectrum, rtol=1e-12)
    assert not np.allclose(smooth_spectrum(lam, spectrum, RANGES["WFM-NOAO-N"]), spectrum)


@pytest.mark.unit
def test_rows_outside_of_the_spectrum():
    lam = np.arange(4800.0, 8991.0, 10.0)
    spectrum = 2 + 0.001 * (lam - 4800)
    wanted = [4600.0, 8990.0, 8991.0, 9100.0]
    wavelengths, data, stat = rows(wanted)
    apply_flat_spectrum(wavelengths, data, stat, fit_flat_spectrum([(lam, spectrum)], MODE))
    np.testing.assert_allclose(data, [2.0, 6.19, 6.19, 6.19], rtol=1e-6)
    wavelengths, data, stat = rows(wanted)
    as_in_c = {"zero_outside_flat_spectrum": True, "flat_spectrum_first_node_lost": True}
    apply_flat_spectrum(wavelengths, data, stat, fit_flat_spectrum([(lam, spectrum)], MODE, **as_in_c))
    np.testing.assert_allclose(data, [0.0, 6.19, 1.238, 0.0], rtol=1e-5)  # as measured


@pytest.mark.unit
def test_response_decides():
    assert not response_wants_flat({})
    assert response_wants_flat({"ESO DRS MUSE FLUX FFCORR": True})
