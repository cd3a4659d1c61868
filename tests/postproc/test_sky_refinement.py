# SPDX-License-Identifier: BSD-3-Clause
"""The sky refined per slice: what is fitted, what is not, and what is left in simulated fields."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.postproc.sky.refinement import MIN_COLUMNS, SkyTemplates, fit_amounts
from muse_core.postproc.sky.refinement_kernels import N_TERM, sum_products
from muse_core.postproc.sky.spectrum import SkySpectrum
from muse_core.report.cube import page_of_files
from muse_core.simulate.exposure import Detector
from muse_core.simulate.recovery import sky_errors_of_apertures
from muse_core.simulate.scene import Scene, Star
from muse_core.simulate.scipost import simulate_scipost
from muse_core.simulate.slice_errors import SliceErrors

STILL = Detector(noise=False, cosmic_rate=0.0, bad_fraction=0.0)
PLAIN = {"skymethod": "none", "rvcorr": "none", "save": "individual", "astrometry": False}
FIELD = {"n_ifu": 1, "slices": 24, "lambda_range": (6280.0, 6380.0), "line_error": 0.2}
FIELD |= {"telluric": False, "seed": 71, "lsf_skew": 0.08}
ERRORS = SliceErrors(ifu_shift=0.03, slice_shift=0.01, throughput=0.01)


def templates():
    lam = 6000.0 + 0.3125 * np.arange(1000)
    sky = 50.0 + 2000.0 * np.exp(-0.5 * ((lam - 6100.0) / 1.1) ** 2) + 800.0 * np.exp(
        -0.5 * ((lam - 6220.0) / 1.1) ** 2
    )  # fmt: skip
    return SkyTemplates.from_spectrum(SkySpectrum(lam, sky, np.ones(lam.size), 0.3125, 1))


def rows_of(slices, amounts, noise=10.0, objects=0.0, seed=2, columns=40):
    """Residuals of some slices of IFU 3 with known amounts."""
    rng = np.random.default_rng(seed)
    t = templates()
    lam = rng.uniform(6000.5, 6312.0, (len(slices), 8000)).astype(np.float32)
    column = rng.integers(0, columns, lam.shape)
    origin = (column << 24 | 3 << 6 | np.array(slices)[:, np.newaxis]).astype(np.int32)
    grid = t.first + t.step * np.arange(t.sky.size)
    terms = [np.interp(lam, grid, values) for values in (t.sky, t.slope, t.bend)]
    data = sum(np.array(amounts)[:, k, np.newaxis] * terms[k] for k in range(3))
    data = data + objects + rng.normal(0, noise, lam.shape)
    return t, [a.ravel().astype(b) for a, b in ((lam, "f4"), (data, "f4"), (origin, "i4"))], noise


def fit(t, rows, noise):
    lam, data, origin = rows
    coarse, fine = np.zeros((2, 2, 1152, N_TERM + 1, N_TERM + 1))
    count, columns = np.zeros(1152, np.int64), np.zeros((1152, 128), np.bool_)
    stat = np.full(lam.size, noise**2, np.float32)
    good = np.ones(lam.size, np.bool_)
    sum_products(lam, data, stat, origin, good, *t.numbers(), 6.0, coarse, fine, count, columns)
    every = count.copy()
    every[2 * 48 : 3 * 48] += 1
    return fit_amounts(t, coarse + fine, count, columns.sum(axis=1), every)


@pytest.mark.unit
def test_known_amounts_are_found():
    wanted = [(0.02, 0.05, 0.03), (-0.02, -0.02, 0.0), (0.0, 0.0, 0.0)]
    found = fit(*rows_of([5, 6, 7], wanted, objects=4.0))
    keys = 2 * 48 + np.array([4, 5, 6])
    np.testing.assert_allclose(found.amount[keys][:, [0, 2, 4]], wanted, atol=0.006)
    assert (found.amount[keys[2]] == 0.0).all()  # nothing is taken where nothing is
    assert (found.amount[:, 5:] == 0.0).all()  # the light of objects stays
    assert found.columns[keys].tolist() == [40, 40, 40]
    assert not found.from_ifu[keys].any()


@pytest.mark.unit
def test_a_slice_with_few_columns_follows_its_ifu():
    wanted = [(0.0, 0.05, 0.0)] * 3
    t, rows, noise = rows_of([5, 6, 7], wanted)
    lam, data, origin = rows
    few = ((origin & 0x3F) != 7) | ((origin >> 24) < MIN_COLUMNS - 1)
    found = fit(t, [column[few] for column in rows], noise)
    key = 2 * 48 + 6
    assert found.from_ifu[key]
    np.testing.assert_allclose(found.amount[key, [0, 2]], wanted[0][:2], atol=0.006)


@pytest.mark.unit
def test_slices_without_sky_are_counted_and_told_if_they_are_corrected():
    found = fit(*rows_of([5, 6], [(0.03, 0.05, 0.0), (0.01, 0.05, 0.0)]))
    assert found.n_changed == 48  # the whole IFU: 2 by themselves, the others with it
    assert found.qc()[1][1] == 46
    table = found.columns_of_table()
    assert table["slice"].tolist() == list(range(1, 49))
    assert table["columns"].tolist() == [0] * 4 + [40, 40] + [0] * 42


@pytest.mark.unit
def test_the_sky_as_a_whole_stays_as_bright_as_it_is():
    found = fit(*rows_of([5, 6, 7], [(0.03, 0.05, 0.0), (0.01, 0.0, 0.0), (0.02, 0.0, 0.0)]))
    keys = 2 * 48 + np.array([4, 5, 6])
    assert abs(found.amount[keys, 0].mean()) < 1e-4
    np.testing.assert_allclose(found.amount[keys, 0], [0.01, -0.01, 0.0], atol=0.006)
    np.testing.assert_allclose(found.amount[keys, 2], [0.05, 0.0, 0.0], atol=0.006)


@pytest.mark.unit
def test_noise_alone_is_not_fitted():
    found = fit(*rows_of(list(range(1, 31)), np.zeros((30, 3))))
    assert np.count_nonzero(found.amount.any(axis=1)) <= 1


@pytest.mark.unit
def test_light_of_objects_is_no_throughput_where_the_sky_has_no_structure():
    lam = 6000.0 + 0.3125 * np.arange(1000)
    sky = 50.0 + 0.5 * np.sin(lam / 40.0)
    flat = SkyTemplates.from_spectrum(SkySpectrum(lam, sky, np.ones(lam.size), 0.3125, 1))
    _, rows, noise = rows_of([5, 6], np.zeros((2, 3)))
    in_one = (rows[2] & 0x3F) == 5  # the throughputs keep their mean, so not the same in both slices
    rows[1] = (rows[1] + 3.0 * in_one * np.sin(rows[0] / 40.0)).astype(np.float32)  # 6 times the sky's shape
    found = fit(flat, rows, noise)
    assert np.abs(found.amount[:, 0]).max() < 0.05


def errors_of(tmp_path, scene, slice_errors, **options):
    folder = tmp_path / "f"
    changes = {**FIELD, "slice_errors": slice_errors, "lsf": "image"}
    sky = simulate_scipost(folder / "sky", scene=Scene(), detector=STILL, **changes)
    full = simulate_scipost(folder / "full", scene=scene, **changes)
    tables = []
    for name, simulation, more in (
        ("sky", sky, PLAIN), ("full", full, PLAIN),
        ("off", full, {**PLAIN, **options, "sky_refine": "false"}),
        ("on", full, {**PLAIN, **options, "sky_refine": "auto", "save": "individual,skymodel"}),
    ):  # fmt: skip
        out = folder / f"out_{name}"
        out.mkdir()
        run_recipe("muse_scipost", simulation.frames(without=["SKY_CONTINUUM"]), more, workdir=out)
        tables.append(out / "PIXTABLE_REDUCED_0001.fits")
    return [sky_errors_of_apertures(*tables[:2], table) for table in tables[2:]], tables


@pytest.mark.law
@pytest.mark.parametrize("method", ["model", "simple"])
def test_errors_of_slices_are_taken_out(method, tmp_path):
    (off, on), tables = errors_of(tmp_path, Scene((Star(4.0, 0.0, 3e4),)), ERRORS, skymethod=method)
    assert on.row_lines < 0.5 * off.row_lines
    assert on.rows < 0.7 * off.rows
    header = fits.getheader(tables[3].parent / "SKY_REFINEMENT_0001.fits")
    assert fits.getheader(tables[3])["ESO DRS MUSE SKY REFINE"] > 15
    assert header["ESO QC SCIPOST REFINE NSLICES"] > 15
    assert 0.3 < header["ESO QC SCIPOST REFINE THROUGHPUT"] < 3.0
    with fits.open(tables[3].parent / "SKY_REFINEMENT_0001.fits") as hdus:
        shift = hdus["SHIFT"].data
    assert shift.shape == (24, 48)
    page = page_of_files({"SKY_REFINEMENT": [tables[3].parent / "SKY_REFINEMENT_0001.fits"]})
    parts = page.sections[0].parts
    assert [part.text.split(" [")[0] for part in parts[:3]] == [
        "error of the throughput", "error of the wavelengths", "excess of the squared width of lines",
    ]  # fmt: skip
    assert parts[4].rows[0][1] == "24"
    assert np.count_nonzero(np.isfinite(shift)) == 24
    assert flux_of_star(tables[3]) == pytest.approx(flux_of_star(tables[2]), rel=2e-3)


def flux_of_star(path):
    """Sum of the rows within 5 pixels of the brightest place, between the lines."""
    with fits.open(path) as hdus:
        x, y, lam, data = (
            hdus[name].data.ravel().astype(float) for name in ("xpos", "ypos", "lambda", "data")
        )
    dark = (lam > 6312.0) & (lam < 6355.0)
    top = np.argsort(data[dark])[-50:]
    near = dark & (np.hypot(x - np.median(x[dark][top]), y - np.median(y[dark][top])) < 5.0)
    return data[near].sum()


@pytest.mark.law
def test_without_errors_nothing_gets_worse(tmp_path):
    (off, on), _ = errors_of(tmp_path, Scene(), None, skymethod="model")
    assert on == off  # few slices ask for a change: none is made
