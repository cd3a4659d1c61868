# SPDX-License-Identifier: BSD-3-Clause
"""Whether a field has empty sky: fields that have, and fields that a nebula, a galaxy or stars fill."""

import logging

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.postproc.sky.empty_sky import fit_empty_sky
from muse_core.simulate.scene import Scene, gas, nebula
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit
SHAPE = (75, 300)
SKY = 190.0
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


def moffat(x, y, peak, fwhm, beta=2.8, ratio=1.0):
    a = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    return peak * (1 + ((X - x) ** 2 + ((Y - y) / ratio) ** 2) / a**2) ** -beta


def stars(n, seed=5):
    rng = np.random.default_rng(seed)
    light = np.zeros(SHAPE)
    for _ in range(n):
        light += moffat(rng.uniform(5, 295), rng.uniform(5, 70), 150 * 10 ** rng.uniform(0, 1.7), 4.0)
    return light


def observed(light, *, noise=2.0, slices=0.01, gradient=0.02, seed=1):
    """A field seen by slices and IFUs of different throughput, with a tilt of the flat field."""
    rng = np.random.default_rng(seed)
    gain = np.repeat(1 + rng.normal(0, slices, (SHAPE[0], 4)), 75, axis=1)
    gain = gain * (1 + rng.normal(0, slices, 7))[Y // 12] * (1 + gradient * (X - 150) / 150)
    return ((SKY + light) * gain + rng.normal(0, noise, SHAPE)).astype(np.float32)


EMPTY = {
    "nothing": np.zeros(SHAPE),
    "stars": stars(12),
    "many stars": stars(120),
    "a galaxy": moffat(160, 37, 200.0, 45.0, 2.5, 0.6),
}
FILLED = {
    "nebula": 60 * (1 + 0.3 * np.sin(X / 33 + 1) * np.cos(Y / 27)),
    "nebula on one side": 40 * (1 + 0.5 * (X - 150) / 150),
    "nebula and stars": 60 * (1 + 0.3 * np.sin(X / 33 + 1) * np.cos(Y / 27)) + stars(12),
    "a large galaxy": moffat(160, 37, 60.0, 250.0, 2.5, 0.5),
    "cluster": stars(600),
}


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("changes", [{}, {"noise": 0.3}, {"noise": 20.0}, {"gradient": 0.03}, {"seed": 2}])
def test_ordinary_fields_are_no_alarm(name, changes):
    assert fit_empty_sky(observed(EMPTY[name], **changes)).found


@pytest.mark.parametrize("name", FILLED)
@pytest.mark.parametrize("changes", [{}, {"noise": 0.3}, {"noise": 6.0}, {"seed": 2}])
def test_fields_without_empty_sky_are_noticed(name, changes):
    found = fit_empty_sky(observed(FILLED[name], **changes))
    assert found.known
    assert not found.found


def test_what_cannot_be_judged():
    assert not fit_empty_sky(np.full((20, 30), 5.0, np.float32)).known
    assert not fit_empty_sky(np.full(SHAPE, np.nan, np.float32)).known
    assert not fit_empty_sky(observed(np.full(SHAPE, -SKY))).known


@pytest.mark.law
@pytest.mark.parametrize("filled", [True, False])
def test_it_is_told_in_the_log_and_in_the_products(tmp_path, caplog, filled):
    made = simulate_scipost(
        tmp_path / "in", n_ifu=3, slices=48, lambda_range=(6995.0, 7005.0), lsf=None, seed=6,
        scene=nebula(60.0) if filled else Scene(),
    )  # fmt: skip
    options = {"skymethod": "simple", "rvcorr": "none", "save": "cube,skymodel"}
    run_recipe("muse_scipost", made.frames(), options, workdir=tmp_path)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    told = [text for text in warnings if "no empty sky" in text]
    assert len(told) == filled
    assert fits.getheader(tmp_path / "DATACUBE_FINAL.fits")["ESO QC SCIPOST SKY EMPTY"] is (not filled)
    spread = fits.getheader(tmp_path / "SKY_MASK_0001.fits")["ESO QC SCIPOST SKY SPREAD"]
    assert spread > 3.5 if filled else spread < 2.0
    if filled:
        assert "subtract-model" in told[0]


@pytest.mark.law
@pytest.mark.parametrize("lam", [(4900.0, 5060.0), (6500.0, 6640.0)])
@pytest.mark.parametrize("h_beta", [0.0, 300.0])
def test_a_nebula_that_is_the_same_everywhere_is_noticed_by_its_lines(tmp_path, caplog, lam, h_beta):
    made = simulate_scipost(
        tmp_path / "in", n_ifu=2, slices=24, lambda_range=lam, lsf=None, seed=6,
        scene=gas(h_beta, continuum=20.0, velocity=20.0) if h_beta else Scene(),
    )  # fmt: skip
    options = {"skymethod": "simple", "rvcorr": "none", "save": "cube,skymodel"}
    run_recipe("muse_scipost", made.frames(), options, workdir=tmp_path)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    told = [text for text in warnings if "emission lines of a nebula" in text]
    assert len(told) == (h_beta > 0.0)
    header = fits.getheader(tmp_path / "DATACUBE_FINAL.fits")
    assert header.get("ESO QC SCIPOST SKY EMPTY", True) is (h_beta == 0.0)
    width = fits.getheader(tmp_path / "SKY_MASK_0001.fits")["ESO QC SCIPOST SKY NEBULA"]
    assert width > 10.0 if h_beta else width == 0.0
    if h_beta:
        assert ("[O III] 5007" if lam[0] < 6000 else "H-alpha") in told[0]
        assert "subtract-model" in told[0]
