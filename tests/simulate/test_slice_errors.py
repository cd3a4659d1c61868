# SPDX-License-Identifier: BSD-3-Clause
"""Slices whose wavelengths, throughputs and profiles are not what the calibrations say."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.simulate.exposure import Detector
from muse_core.simulate.recovery import sky_errors_of_apertures
from muse_core.simulate.scene import Scene
from muse_core.simulate.scipost import simulate_scipost
from muse_core.simulate.slice_errors import SliceErrors

STILL = Detector(noise=False, cosmic_rate=0.0, bad_fraction=0.0)
FIELD = {
    "n_ifu": 1,
    "slices": 3,
    "columns": 20,
    "lambda_range": (6290.0, 6310.0),
    "scene": Scene(),
    "seed": 3,
}


def rows(simulation):
    with fits.open(simulation.paths("PIXTABLE_OBJECT")[0]) as hdus:
        return {name: hdus[name].data.ravel().copy() for name in ("lambda", "data", "origin")}


@pytest.mark.unit
def test_throughput_and_shift_are_those_of_the_draw(tmp_path):
    errors = SliceErrors(ifu_shift=0.03, slice_shift=0.05, throughput=0.02, throughput_slope=0.01)
    drawn = errors.draw(3)
    plain = rows(simulate_scipost(tmp_path / "a", detector=STILL, **FIELD))
    found = rows(simulate_scipost(tmp_path / "b", detector=STILL, slice_errors=errors, **FIELD))
    np.testing.assert_array_equal(found["lambda"], plain["lambda"])  # what the table says does not change
    ifu = int((plain["origin"][0] >> 6) & 0x1F)
    for number in np.unique(plain["origin"] & 0x3F):
        on_slice = (plain["origin"] & 0x3F) == number
        lam = plain["lambda"][on_slice]
        order = np.argsort(lam)
        true = drawn.true_wavelength(ifu, number, lam)
        shifted = np.interp(true, lam[order], plain["data"][on_slice][order])
        ratio = found["data"][on_slice] / shifted / drawn.throughput(ifu, number, lam)
        inside = np.abs(lam - lam.mean()) < 6.0
        assert np.abs(np.median(ratio[inside]) - 1.0) < 1e-3
        assert np.percentile(np.abs(ratio[inside] - 1.0), 90) < 0.01  # interpolated between rows


@pytest.mark.unit
def test_draws_are_the_same_for_any_part_of_the_instrument():
    one, two = (SliceErrors(slice_shift=0.1, width=0.02).draw(7) for _ in range(2))
    np.testing.assert_array_equal(one.shift, two.shift)
    assert one.shift.std() == pytest.approx(0.1, rel=0.1)
    assert one.width.std() == pytest.approx(0.02, rel=0.1)
    assert SliceErrors().draw(7).gain.tolist() == np.ones((24, 48)).tolist()


@pytest.mark.unit
def test_errors_of_apertures_are_in_units_of_their_noise(tmp_path):
    simulation = simulate_scipost(tmp_path / "sim", **{**FIELD, "columns": 40, "slices": 12})
    full = simulation.paths("PIXTABLE_OBJECT")[0]
    none = sky_errors_of_apertures(full, full, full)
    with fits.open(full) as hdus:
        data, sigma = hdus["data"].data.copy(), np.sqrt(hdus["stat"].data)
        hdus["data"].data = data - (data - 0.1 * sigma)
        hdus.writeto(tmp_path / "after.fits")
        hdus["data"].data = data
        hdus.writeto(tmp_path / "sky.fits")
    found = sky_errors_of_apertures(tmp_path / "sky.fits", full, tmp_path / "after.fits")
    assert none.rows > 1.0  # nothing was subtracted
    assert found.rows == pytest.approx(0.1, rel=1e-3)
    assert found.row_lines == pytest.approx(0.1, rel=1e-3)
    assert 0.5 < found.apertures < 1.5  # 100 rows or so that all err to the same side
