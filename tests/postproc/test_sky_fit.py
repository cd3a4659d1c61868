# SPDX-License-Identifier: BSD-3-Clause
"""The optimiser and the fit of sky lines."""

import numpy as np
import pytest
from astropy.io import fits
from postproc_golden import golden, load_columns, load_table
from scipy.optimize import leastsq

from muse_core.data.slices import rows_by_slice
from muse_core.framework import RecipeError
from muse_core.postproc.lsf.images import LsfImage, average_lsf, pad_samples
from muse_core.postproc.lsf.load import load_lsf
from muse_core.postproc.sky.levenberg_marquardt import fit_least_squares
from muse_core.postproc.sky.line_fit import (
    FAINT_IN_FIT,
    fit_continuum,
    fit_image_lines,
    fit_table_lines,
    hermite_parameters,
    image_objective,
    line_spectrum,
)
from muse_core.postproc.sky.line_kernels import add_hermite_lines
from muse_core.postproc.sky.line_list import SkyLines, load_sky_continuum, load_sky_lines
from muse_core.postproc.sky.spectrum import SkySpectrum

pytestmark = pytest.mark.kernel


# ------------------------------------------------------------ optimiser
@pytest.mark.unit
def test_optimum_is_that_of_minpack():
    rng = np.random.default_rng(1)
    x = np.linspace(-3, 3, 200)
    y = 3 * np.exp(-0.5 * ((x - 0.4) / 0.7) ** 2) + 0.5 + 0.1 * x + rng.normal(0, 0.05, x.size)

    def residuals(p):
        return p[0] * np.exp(-0.5 * ((x - p[1]) / p[2]) ** 2) + p[3] + p[4] * x - y

    start = np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    result = fit_least_squares(residuals, start, 1000)
    peer, _ = leastsq(residuals, start, ftol=1e-14, xtol=1e-14)
    assert result.converged
    np.testing.assert_allclose(result.p, peer, rtol=1e-6)
    assert result.chi2 == pytest.approx((residuals(peer) ** 2).sum(), rel=1e-12)


@pytest.mark.unit
def test_rosenbrock_and_a_parameter_without_effect():
    result = fit_least_squares(
        lambda p: np.array([10 * (p[1] - p[0] ** 2), 1 - p[0], 0.0]), np.array([-1.2, 1.0, 5.0]), 2000
    )
    np.testing.assert_allclose(result.p, [1.0, 1.0, 5.0], rtol=1e-6)


@pytest.mark.unit
def test_a_fit_that_cannot_end_says_so():
    result = fit_least_squares(lambda p: np.array([np.exp(-p[0]), 1e-3 * p[0] ** 2]), np.array([3.0]), 4)
    assert not result.converged
    assert "evaluations" in result.reason
    result = fit_least_squares(lambda p: p * np.nan, np.array([1.0]), 100)
    assert not result.converged
    assert "finite" in result.reason


# ------------------------------------------------------------ line fit
def profile(n_lam=5):
    x = -6.0 + np.arange(121) * 0.1
    width = np.linspace(1.05, 1.2, n_lam)[:, np.newaxis]
    row = np.zeros(1152, np.int32)
    return LsfImage(pad_samples(np.exp(-0.5 * (x / width) ** 2)[np.newaxis]), -6.0, 0.1, 5800.0, 100.0, row)


def line_list(seed=2):
    rng = np.random.default_rng(seed)
    lam = np.sort(rng.uniform(5990, 6110, 18))
    group = rng.integers(0, 3, 18).astype(np.int32)
    group[:3] = [0, 1, 2]
    return SkyLines(
        tuple(f"l{i}" for i in range(18)), group, lam, rng.uniform(5, 100, 18), np.zeros(18, np.int32)
    )


def spectrum_of(model, lam, noise=0.0, seed=3):
    rng = np.random.default_rng(seed)
    continuum = 40 + 0.05 * (lam - 6050)
    stat = np.full(lam.size, max(noise, 0.1) ** 2)
    return SkySpectrum(lam, model + continuum + rng.normal(0, 1, lam.size) * noise, stat, 0.3125, 1000)


@pytest.mark.law
def test_fluxes_and_shift_are_recovered():
    lam = 6000 + np.arange(320) * 0.3125
    sky, lsf = line_list(), profile()
    true = np.array([1.7, 0.6, 1.1])[sky.group] * sky.flux
    model = line_spectrum(lam, sky.lam + 0.031 + 2e-5 * (sky.lam - 7000), true, lsf, 0.0)
    fit = fit_image_lines(spectrum_of(model, lam), sky, lsf)
    assert fit.result.converged
    np.testing.assert_allclose(fit.factor, [1.7, 0.6, 1.1], rtol=1e-3)
    assert (np.diff(fit.lines.flux) <= 0).all()
    (low, _), (high, _) = fit.shift_ends
    assert (low, high) == (pytest.approx(0.011, abs=2e-3), pytest.approx(0.013, abs=2e-3))
    assert "finished successfully" in fit.message()
    wave, flux = fit_continuum(spectrum_of(model, lam), fit.lines, lsf, 0.3125)
    assert wave.size == 319
    np.testing.assert_allclose(flux, 40 + 0.05 * (wave - 6050), atol=0.3)


@pytest.mark.law
def test_a_smooth_continuum_changes_nothing_and_scale_goes_into_the_factors():
    lam = 6000 + np.arange(320) * 0.3125
    sky, lsf = line_list(), profile()
    model = line_spectrum(lam, sky.lam, sky.flux, lsf, 0.0)
    one = fit_image_lines(spectrum_of(model, lam, 0.5), sky, lsf)  # tolerances: minima lie next to each other
    base = spectrum_of(model, lam, 0.5)
    lifted = SkySpectrum(base.lam, base.data + 1000.0, base.stat, base.step, base.n_rows)
    np.testing.assert_allclose(fit_image_lines(lifted, sky, lsf).factor, one.factor, rtol=1e-3)
    scaled = SkySpectrum(base.lam, base.data * 7, base.stat * 49, base.step, base.n_rows)
    np.testing.assert_allclose(fit_image_lines(scaled, sky, lsf).factor, 7 * one.factor, rtol=1e-3)


@pytest.mark.law
def test_hermite_fit_recovers_fluxes():
    lam = 6000 + np.arange(320) * 0.3125
    sky = line_list()
    shape = np.array([0.0, 0.0, 1.1, 0.0, 0.0, 0.02, -0.01, 0.0, 0.0])
    p = np.append(np.sqrt([1.5, 0.7, 1.2]), shape)
    model = np.zeros(lam.size)
    add_hermite_lines(
        lam, sky.lam, p[:3][sky.group] ** 2 * sky.flux, hermite_parameters(p, sky), 7.0, 0.0, model
    )
    fit = fit_table_lines(spectrum_of(model, lam), sky)
    np.testing.assert_allclose(fit.factor, [1.5, 0.7, 1.2], rtol=5e-3)
    assert set(fit.lines.lam) == set(sky.lam)


@pytest.mark.unit
def test_faint_lines_are_left_out_of_the_fit_model_only():
    lam, lsf = 6000 + np.arange(320) * 0.3125, profile()
    flux = np.array([1.0, 2e-5])
    both = line_spectrum(lam, np.array([6020.0, 6080.0]), flux, lsf, FAINT_IN_FIT)
    assert both[(lam > 6070) & (lam < 6090)].max() == 0
    assert line_spectrum(lam, np.array([6020.0, 6080.0]), flux, lsf, 0.0)[lam > 6070].max() > 0


@pytest.mark.unit
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stat": np.zeros(320)}, "variances of the sky spectrum are not positive"),
        ({"data": np.full(320, np.nan)}, "not finite"),
        ({"lam": np.zeros(1), "data": np.zeros(1), "stat": np.ones(1)}, "only 1 bins"),
    ],
)
def test_spectra_without_a_fit(change, message):
    lam = 6000 + np.arange(320) * 0.3125
    base = {"lam": lam, "data": np.ones(320), "stat": np.ones(320), "step": 0.3125, "n_rows": 5}
    with pytest.raises(RecipeError, match=message):
        fit_image_lines(SkySpectrum(**{**base, **change}), line_list(), profile())


@pytest.mark.unit
def test_no_line_in_the_range():
    lam = 6000 + np.arange(320) * 0.3125
    spectrum = SkySpectrum(lam, np.ones(320), np.ones(320), 0.3125, 5)
    with pytest.raises(RecipeError, match="No line of SKY_LINES lies in the range"):
        fit_image_lines(spectrum, line_list().in_range(8000.0, 8100.0), profile())
    with pytest.raises(RecipeError, match="No line of SKY_LINES lies in the range"):
        fit_table_lines(spectrum, line_list().in_range(8000.0, 8100.0))


# ------------------------------------------------------------ against the C pipeline
GOLDEN = {
    "cube": ("sky2", "out_cube", "sky_lines.fits", ("10", "12"), 0.3125, 0.3125),
    "sampling": ("sky2", "out_sampling", "sky_lines.fits", ("10", "12"), 0.5, 1.0),
    "oh": ("sky2", "out_oh", "sky_lines_oh.fits", ("10", "12"), 0.3125, 0.3125),
    "model": ("model", "out_model", "sky_lines.fits", ("10",), 0.3125, 0.3125),
}


@pytest.mark.golden
@pytest.mark.parametrize("case", GOLDEN)
def test_fit_is_never_worse_than_that_of_the_c_pipeline(case):
    folder, run, line_file, ifus, step, csampling = GOLDEN[case]
    spectrum = SkySpectrum(
        *load_columns(golden(folder, run, "SKY_SPECTRUM_0001.fits"), "lambda", "data", "stat"), step, 0
    )
    rows = np.zeros(1152, np.int64)
    for ifu in ifus:
        origin = load_table(golden(folder, f"PIXTABLE_OBJECT_0001-{ifu}.fits"))[1]["origin"]
        rows += rows_by_slice(np.bincount(origin & 0x7FF, minlength=2048))
    lsf = average_lsf(load_lsf([golden(folder, f"LSF_PROFILE-{ifu}.fits") for ifu in ifus]), rows, step)
    sky = load_sky_lines(golden(folder, line_file)).in_range(spectrum.lam[0], spectrum.lam[-1])
    fit = fit_image_lines(spectrum, sky, lsf)
    peer = load_sky_lines(golden(folder, run, "SKY_LINES_0001.fits"))

    def chi2(lines):
        model = line_spectrum(spectrum.lam, lines.lam, lines.flux, lsf, FAINT_IN_FIT)
        return (
            (np.diff(model) - np.diff(spectrum.data)) ** 2 / (spectrum.stat[1:] + spectrum.stat[:-1])
        ).sum()

    assert chi2(fit.lines) == pytest.approx(fit.result.chi2, rel=1e-10)
    p = np.append(np.sqrt(fit.factor), fit.result.p[-2:])
    assert (image_objective(spectrum, sky, lsf)(p) ** 2).sum() == pytest.approx(fit.result.chi2, rel=1e-12)
    assert fit.result.chi2 <= chi2(peer) * (1 + 1e-5)
    if case != "oh":  # there the C pipeline itself jumps by one per cent
        assert fit.lines.name == peer.name
        bright = peer.flux > 1e-3 * peer.flux.max()
        np.testing.assert_allclose(fit.lines.flux[bright], peer.flux[bright], rtol=5e-4)
        np.testing.assert_allclose(fit.lines.lam, peer.lam, atol=1e-3)
    lam, flux = fit_continuum(spectrum, peer, lsf, csampling)
    expected = load_sky_continuum(golden(folder, run, "SKY_CONTINUUM_0001.fits"))
    np.testing.assert_allclose(lam, expected[0], rtol=1e-15)
    np.testing.assert_allclose(flux, expected[1], atol=1e-10 * spectrum.data.max())


@pytest.mark.golden
def test_table_fit_agrees_with_the_c_pipeline():
    spectrum = SkySpectrum(
        *load_columns(golden("sky2", "out_params", "SKY_SPECTRUM_0001.fits"), "lambda", "data", "stat"),
        0.3125,
        0,
    )
    sky = load_sky_lines(golden("sky2", "sky_lines.fits")).in_range(spectrum.lam[0], spectrum.lam[-1])
    fit = fit_table_lines(spectrum, sky)
    path = golden("sky2", "out_params", "SKY_LINES_0001.fits")
    peer = load_sky_lines(path)
    with fits.open(path) as hdus:
        assert [key for key in hdus[0].header if key.startswith("ESO QC SCIPOST LINE")]
    assert fit.lines.name == peer.name
    np.testing.assert_array_equal(fit.lines.lam, peer.lam)
    np.testing.assert_allclose(fit.lines.flux, peer.flux, rtol=5e-6)
