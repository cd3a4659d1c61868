# SPDX-License-Identifier: BSD-3-Clause
"""Wavelengths of single slices: found where a sky line tells them, left alone where none does."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.basic.sky_lines import LineFit, WavelengthShift
from muse_core.basic.slice_shifts import combine_slices, slice_offset
from muse_core.simulate.raw import RawSetup
from muse_core.simulate.raw_science import simulate_raw_science
from tests.basic.runs import columns, run

pytestmark = pytest.mark.unit
LINE = LineFit(6300.304, 6300.4, 0.002, 1.1, 1000.0, 2.0, 60.0, 40000, 0)


def rows(offset, height=400.0, seed=0, n=600):
    rng = np.random.default_rng(seed)
    lam = rng.uniform(6295.3, 6305.3, n)
    signal = 60 + height * np.exp(-0.5 * ((lam - LINE.centre - offset) / LINE.sigma) ** 2)
    return lam, signal + np.sqrt(signal) * rng.standard_normal(n), signal


@pytest.mark.parametrize("offset", [0.0, 0.03, -0.2])
def test_offset_of_a_slice(offset):
    found, errors = np.transpose([slice_offset(LINE, *rows(offset, seed=k)) for k in range(60)])
    assert np.mean(found) == pytest.approx(-offset, abs=4 * errors.mean() / np.sqrt(60))
    assert np.std(found) == pytest.approx(errors.mean(), rel=0.3)


def test_hits_and_stars_do_not_matter():
    lam, data, stat = rows(0.05)
    data[::50] += 5000
    assert slice_offset(LINE, lam, data, stat)[0] == pytest.approx(-0.05, abs=0.04)


@pytest.mark.parametrize("values", [rows(0.0, height=0.0), rows(2.5), rows(0.0, n=30)])
def test_slices_without_the_line_are_left_alone(values):
    offset, error = slice_offset(LINE, *values)
    assert np.isnan(offset)
    assert error == np.inf


def test_shifts_are_no_larger_than_their_errors_allow():
    rng = np.random.default_rng(2)
    noise = [0.02 * rng.standard_normal(48) for _ in range(2)]
    error = np.full(48, 0.02)
    true = 0.05 * rng.standard_normal(48)
    alike = combine_slices(noise, [error, error])
    assert np.std(alike.values) < 0.5 * np.std(np.mean(noise, axis=0))
    told = combine_slices([true + own for own in noise], [error, error])
    assert np.std(told.values - true) < 0.02
    noise[0][5] = noise[1][5] = np.nan
    assert combine_slices(noise, [error, error]).values[5] == 0
    assert not combine_slices(noise, [error, error]).measured[5]


def test_slices_alike_have_no_shift_of_their_own():
    """Noise below the errors moves nothing, and is not counted as a shift."""
    alike = combine_slices([np.tile([0.001, -0.001], 24)], [np.full(48, 0.02)])
    assert alike.measured.all()
    assert WavelengthShift(0.1, slices=alike.values).moved == 0


@pytest.fixture(scope="module")
def bent(tmp_path_factory):
    """An IFU with 1.25 Angstrom per pixel whose slices are off by 0.05 Angstrom rms."""
    setup = RawSetup(nx=600, ny=64, ifus=(3,), lambda_min=6220.0, lambda_max=6380.0, cosmics=10)
    own = 0.05 * np.random.default_rng(5).standard_normal(49)
    folder = tmp_path_factory.mktemp("bent")
    made = simulate_raw_science(
        folder, setup, n_stars=1, shift=lambda _, s: 0.1 + float(own[s]), skyflats=0, illum=False,
        calibrations=False,
    )  # fmt: skip
    return made.raw, own[1:]


def test_residual_shift_over_slices(bent, tmp_path):
    frames, own = bent
    name, options = "PIXTABLE_OBJECT_0001-03.fits", {"saveimage": False, "skylines": "6300.304"}
    before = run(frames, tmp_path / "a", **options)[name]
    after = run(frames, tmp_path / "b", slicelines=True, **options)[name]
    assert "ESO QC SCIBASIC LAMBDA SLICES RMS" not in fits.getheader(before)
    header = fits.getheader(after)
    assert header["ESO QC SCIBASIC LAMBDA SLICES NUMBER"] >= 44
    old, new = columns(before), columns(after)
    number = new["origin"] & 63
    moved = [
        np.median(new["lambda"][number == s].astype(float) - old["lambda"][number == s]) for s in range(1, 49)
    ]
    left = np.array(moved) + own
    inner = slice(1, 47)  # the first and the last slice leave the detector
    assert np.std(own[inner]) > 0.03
    assert np.std(left[inner]) < 0.4 * np.std(own[inner])


@pytest.mark.parametrize("lines", ["none", "6250.0"])
def test_slices_that_are_not_moved_are_told(bent, tmp_path, lines, caplog):
    """Without a line that can be used, ``slicelines`` does nothing; log and product say so."""
    options = {"saveimage": False, "skylines": lines, "slicelines": True}
    with caplog.at_level("WARNING"):
        product = run(bent[0], tmp_path, **options)["PIXTABLE_OBJECT_0001-03.fits"]
    assert "slicelines: no slice of IFU 3 was moved: no sky line could be used" in caplog.text
    assert fits.getheader(product)["ESO QC SCIBASIC LAMBDA SLICES NUMBER"] == 0
    assert any(getattr(r, "undone", False) for r in caplog.records if "slicelines:" in r.getMessage())
