# SPDX-License-Identifier: BSD-3-Clause
"""Light and noise of the simulator against slow twins and known statistics."""

import numpy as np
import pytest

from muse_core.simulate import kernels, lsf, physics
from muse_core.simulate.airglow import oh_transitions, sky_line_list
from muse_core.simulate.scene import (
    GRID_START,
    GRID_STEP,
    Galaxy,
    Scene,
    Star,
    deproject,
    gnomonic,
    wavelength_grid,
)

pytestmark = pytest.mark.unit
WCS = np.array([3.0, -2.0, -0.2, 0.001, 0.001, 0.2])


def _positions(n=400):
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-10, 10, (2, n)).astype(np.float32)
    return x, y, rng.uniform(6990, 7010, n).astype(np.float32)


@pytest.mark.kernel
def test_sources_follow_the_slow_formula():
    x, y, lam = _positions()
    scene = Scene(
        (Star(0.3, 0.1, 1000.0),),
        (Galaxy(-0.5, 0.4, 500.0, line_flux=3000.0, line_wavelength=7001.0, gradient=1.0, angle=40.0),),
    )
    table, spectra = scene.source_table(0.8, np.array([0.3, -0.5]), np.array([0.1, 0.4]))
    shift = np.stack([np.full(wavelength_grid().size, 0.7), np.full(wavelength_grid().size, -0.2)])
    out = np.zeros(x.size)
    kernels.add_sources(x, y, lam, shift, WCS, table, spectra, GRID_START, GRID_STEP, 1.1, out)

    px, py = x.astype(float) + 0.7 - 3.0, y.astype(float) - 0.2 + 2.0
    xi, eta = -0.2 * px + 0.001 * py, 0.001 * px + 0.2 * py
    expected = np.zeros(x.size)
    for row, spectrum in zip(table, spectra, strict=True):
        u, v = xi - row[0], eta - row[1]
        fwhm = row[3] * (lam / 7000.0) ** row[7]
        beta, ratio = row[6], row[4]
        a = 0.5 * fwhm / np.sqrt(2 ** (1 / beta) - 1)
        major = u * np.sin(row[5]) + v * np.cos(row[5])
        minor = (u * np.cos(row[5]) - v * np.sin(row[5])) / ratio
        psf = (beta - 1) / (np.pi * a**2 * ratio) * (1 + (major**2 + minor**2) / a**2) ** -beta
        flux = np.interp(lam, wavelength_grid(), spectrum)
        sigma = np.hypot(row[10], 1.1)
        flux += (
            row[8]
            * np.exp(-0.5 * ((lam - row[9] - row[11] * major) / sigma) ** 2)
            / np.sqrt(2 * np.pi)
            / sigma
        )
        expected += np.where(np.hypot(u, v) < 8 * row[3], flux * psf * 0.040001, 0)
    np.testing.assert_allclose(
        out, expected, rtol=2e-5
    )  # spectra are stored in float32, lines cut at 6 sigma


@pytest.mark.kernel
def test_star_profile_integrates_to_its_flux():
    n = 201
    y, x = (v.ravel().astype(np.float32) for v in np.mgrid[-100:101, -100:101])
    star = Star(0.0, 0.0, 1000.0)
    table, spectra = Scene((star,)).source_table(0.8, np.zeros(1), np.zeros(1))
    out = np.zeros(n * n)
    wcs = np.array([0.0, 0.0, -0.2, 0.0, 0.0, 0.2])
    lam = np.full(n * n, 7000.0, np.float32)
    shift = np.zeros((2, wavelength_grid().size))
    kernels.add_sources(x, y, lam, shift, wcs, table, spectra, GRID_START, GRID_STEP, 1.0, out)
    # the wings beyond 8 FWHM are cut: 0.5 % of a Moffat profile of beta 2.8
    assert out.sum() == pytest.approx(1000.0 * (1 - (1 + 64 * 4 * (2 ** (1 / 2.8) - 1)) ** -1.8), rel=2e-3)


@pytest.mark.kernel
def test_cube_interpolation_reproduces_a_linear_field():
    x, y, lam = _positions()
    yy, xx = np.mgrid[:60, :60]
    planes = np.arange(5)[:, None, None]
    cube = (1.0 + 2 * xx + 3 * yy + 10 * planes).astype(np.float32)
    grid = np.array([5.9, -0.2, -5.9, 0.2, 6980.0, 10.0])
    shift = np.zeros((2, wavelength_grid().size))
    out = np.zeros(x.size)
    wcs = np.array([0.0, 0.0, -0.2, 0.0, 0.0, 0.2])
    kernels.add_cube(x, y, lam, shift, GRID_START, GRID_STEP, wcs, cube, grid, 0.5, out)
    expected = 0.5 * (1 + 2 * (x + 29.5) + 3 * (y + 29.5) + (lam.astype(float) - 6980.0))
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_noise_has_the_stated_variance_and_photons_are_poisson():
    state = np.random.SeedSequence(5).generate_state(2, np.uint64)
    for mean, readnoise in ((0.7, 2.0), (9.0, 1.0), (400.0, 3.0)):
        light = np.full(200_000, mean)
        data, stat = np.empty((2, light.size), np.float32)
        kernels.add_noise(state, light, True, readnoise, False, data, stat)
        variance = mean + readnoise**2
        assert stat[0] == pytest.approx(variance)
        assert data.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / light.size))
        assert data.astype(float).var() == pytest.approx(variance, rel=0.02)
    kernels.add_noise(state, light, True, 3.0, True, data, stat)
    np.testing.assert_allclose(stat, np.maximum(data, 0) + 9.0, rtol=1e-6)
    kernels.add_noise(state, light, False, 3.0, True, data, stat)
    assert (data == 400.0).all()


@pytest.mark.kernel
def test_cosmic_rays_only_add_light_where_they_say():
    state = np.random.SeedSequence(6).generate_state(2, np.uint64)
    data = np.zeros(70 * 500, np.float32)
    hit = np.zeros(data.size, bool)
    n = kernels.add_cosmics(state, 70, 1e-3, data, hit)
    assert n in (35, 36)
    assert hit.sum() >= n * 0.9
    assert (data[hit] > 50).all()
    assert (data[~hit] == 0).all()


@pytest.mark.kernel
def test_bad_pixels_are_flagged_where_they_are_spoiled():
    state = np.random.SeedSequence(7).generate_state(2, np.uint64)
    data = np.full(100_000, 30.0, np.float32)
    dq = np.zeros(data.size, np.int32)
    kernels.add_bad_pixels(state, 0.01, data, dq)
    assert (dq != 0).mean() == pytest.approx(0.01, rel=0.15)
    assert (data[dq == 0] == 30.0).all()
    assert set(np.unique(dq)) <= {0, 0x100, 0x200, 0x400}


@pytest.mark.kernel
def test_lsf_has_unit_integral_and_varies_over_slices_and_wavelength():
    table = lsf.lsf_parameters()
    offsets = np.linspace(-15, 15, 6001)
    widths = []
    for ifu, slice_, wave in ((1, 1, 5000.0), (12, 20, 7000.0), (24, 48, 9200.0)):
        par = lsf.slice_parameters(table, ifu, slice_)
        values = np.array([lsf.profile(par, d, wave) for d in offsets])
        assert values.sum() * 0.005 == pytest.approx(1.0, abs=1e-6)
        widths.append(np.sqrt((values * offsets**2).sum() * 0.005))
        assert lsf.lsf_sigma(par, wave) == pytest.approx(
            widths[-1], rel=0.05
        )  # hermit4, hermit6 add a little
    assert widths[0] > widths[1] > widths[2]


def test_lsf_image_holds_the_profile():
    table = lsf.lsf_parameters()
    image = lsf.lsf_image(table, 3)
    assert image.shape == (48, 30, 150)
    par = lsf.slice_parameters(table, 3, 9)
    assert image[8, 10, 70] == pytest.approx(
        lsf.profile(par, -7.5 + 70 * 15 / 149, 4650 + 10 * 4650 / 29), rel=1e-5
    )


@pytest.mark.kernel
def test_line_spectrum_conserves_flux():
    par = lsf.slice_parameters(lsf.lsf_parameters(), 3, 9)
    out = np.zeros(4000)
    lsf.line_spectrum(par, np.array([7000.0, 7050.3]), np.array([100.0, 50.0]), 6950.0, 0.05, 7.5, out)
    assert out.sum() * 0.05 == pytest.approx(150.0, rel=1e-4)


@pytest.mark.kernel
def test_sky_lines_lie_where_they_were_observed():
    lines = sky_line_list()
    position = dict(zip(lines.name, lines.wavelength, strict=True))
    published = {  # Osterbrock et al. (1996)
        "OH 8-3 P1(2)": 7340.885, "OH 8-3 P1(3)": 7369.365, "OH 6-2 P1(1)": 8399.170,
        "OH 6-2 P1(2)": 8430.174, "OH 9-4 P1(2)": 7821.503, "OH 7-2 P1(3)": 6949.044,
        "OH 5-1 P1(2)": 7993.333, "OH 7-3 Q1(1)": 8827.096,
    }  # fmt: skip
    for name, wave in published.items():
        assert position[name] == pytest.approx(wave, abs=0.3), name
    assert (np.diff(lines.wavelength) >= 0).all()


@pytest.mark.kernel
def test_oh_transitions_give_back_the_fluxes():
    lines = sky_line_list().within(7200, 7500)
    others, table = oh_transitions(lines)
    assert not any(n.startswith("OH") for n in others.name)
    population = (2 * table["J_u"] + 1) * np.exp(-table["E_u"] / (1.3806504e-23 * 200))
    flux = dict(zip(lines.name, lines.flux, strict=True))
    for k, name in enumerate(table["name"]):
        same = table["v_u"] == table["v_u"][k]
        got = 7.94492e10 * table["A"][k] / table["lambda"][k] * population[k] / population[same].sum()
        assert got == pytest.approx(flux[name], rel=1e-9)


@pytest.mark.kernel
def test_refractivity_of_standard_air():
    # dry air at 15 degC and 1013.25 hPa: 2.7717e-4 at the sodium lines, 2.7893e-4 at 5000 A (Edlen 1966)
    dry = physics.Weather(15.0, 0.0, 1013.25)
    got = physics.refractivity(np.array([5000.0, 5893.0]), dry)
    np.testing.assert_allclose(got, [2.7893e-4, 2.7717e-4], rtol=3e-4)


@pytest.mark.kernel
def test_refraction_grows_with_zenith_distance_and_towards_the_blue():
    waves = np.array([4750.0, 7000.0, 9300.0])
    low = physics.dispersion_pixels(waves, 7000.0, 1.05, physics.Weather())
    high = physics.dispersion_pixels(waves, 7000.0, 1.8, physics.Weather())
    assert low[1] == high[1] == 0.0
    assert high[0] < low[0] < 0 < low[2] < high[2]
    tangent = np.tan(np.arccos([1 / 1.05, 1 / 1.8]))
    assert high[0] / low[0] == pytest.approx(tangent[1] / tangent[0])


@pytest.mark.kernel
def test_airmass_is_the_one_the_pipeline_prints():
    # muse_scipost 2.8.7 printed 1.1638 and 1.1944 for the first two exposures of a default simulation
    pointing = physics.Pointing(150.1, -30.2, (150.1 + 33.0) * 240, 600.0)
    assert pointing.airmass == pytest.approx(1.1638, abs=6e-5)


@pytest.mark.kernel
def test_gnomonic_round_trip():
    ra, dec = deproject([0.0, 30.0, -28.0], [0.0, -29.0, 11.0], 338.2, -60.6)
    xi, eta = gnomonic(ra, dec, 338.2, -60.6)
    np.testing.assert_allclose(xi, [0, 30, -28], atol=1e-8)
    np.testing.assert_allclose(eta, [0, -29, 11], atol=1e-8)
