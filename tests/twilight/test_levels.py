# SPDX-License-Identifier: BSD-3-Clause
"""Levels of the IFUs in a vignetted field: known steps are found."""

import numpy as np
import pytest

from muse_core.detector.tables import SliceGeometry
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.raw import RawSetup
from muse_core.twilight.levels import field_map, fit_levels

pytestmark = pytest.mark.kernel

SETUP = RawSetup(nx=512, ifus=(20, 21, 22, 23, 24), mode="NFM-AO-N")
STEPS = {20: 1.0, 21: 1.01, 22: 0.995, 23: 0.98, 24: 1.04}


@pytest.fixture(scope="module")
def field():
    """Positions and IFU of the spaxels."""
    geometries = {}
    for ifu in SETUP.ifus:
        c = instrument.geometry_columns(SETUP, (ifu,))
        geometries[ifu] = SliceGeometry(c["x"], c["y"], np.deg2rad(c["angle"]), c["width"])
    half_x, half_y = SETUP.half_field
    x, y = np.arange(-half_x, half_x + 1), np.arange(97.0, 97.0 + 2 * half_y)
    y = y - y.mean() + np.mean([SETUP.ifu_centre(i) for i in SETUP.ifus])
    return x, y, field_map(geometries, x, y)


@pytest.mark.unit
def test_every_spaxel_belongs_to_the_ifu_at_its_place(field):
    _, y, ifus = field
    assert set(np.unique(ifus)) == {0, *SETUP.ifus}
    assert 0.05 < (ifus == 0).mean() < 0.3
    rows = np.rint(12.5 + y / instrument.IFU_STEP).astype(int)
    inside = ifus > 0
    assert np.array_equal(ifus[inside], np.broadcast_to(rows[:, None], ifus.shape)[inside])


def stepped(field, vignetting):
    x, y, ifus = field
    ratio = np.ones(ifus.shape)
    for ifu, step in STEPS.items():
        ratio[np.abs(y - SETUP.ifu_centre(ifu)) < 0.5 * instrument.IFU_STEP] *= step
    return (ratio * vignetting(x[None, :], y[:, None] - y.max())).astype(np.float32)


@pytest.mark.unit
def test_corner(field):
    x, _, ifus = field
    ratio = stepped(field, lambda x, dy: 1 + 0.3 * np.exp(-(((x - x.max()) / 8) ** 2) - (dy / 8) ** 2))
    vignetted = np.abs(ratio / stepped(field, lambda x, dy: 1 + 0 * dy) - 1) > 1e-5
    assert vignetted[-1, -1]
    levels = fit_levels(ratio, np.ones(ifus.shape, bool), vignetted, ifus)
    for ifu, step in STEPS.items():
        assert levels[ifu] == pytest.approx(step, rel=2e-5)


@pytest.mark.unit
def test_ifu_vignetted_as_a_whole(field):
    _, y, ifus = field
    ratio = stepped(field, lambda x, dy: 1 - 0.3 * np.exp(-((dy / 10) ** 2)) + 0 * x)
    vignetted = np.broadcast_to((y > y.max() - 22.5)[:, None], ifus.shape)
    levels = fit_levels(ratio, np.ones(ifus.shape, bool), vignetted, ifus)
    for ifu, step in STEPS.items():
        # what is left of the light 23 rows below the edge, and what a polynomial makes of a Gaussian
        assert levels[ifu] == pytest.approx(step, rel=2e-3 if ifu > 22 else 1e-3)


@pytest.mark.unit
def test_nothing_to_compare_with(field):
    _, _, ifus = field
    everything = np.ones(ifus.shape, bool)
    assert fit_levels(np.ones(ifus.shape, np.float32), everything, everything, ifus) == {}
    only = np.where(ifus == 24, 24, 0)
    assert fit_levels(np.ones(ifus.shape, np.float32), everything, ~everything, only) == {24: 1.0}
