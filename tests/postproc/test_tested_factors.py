# SPDX-License-Identifier: BSD-3-Clause
"""Factors of slices that must help on columns which took no part in them, and sky without objects."""

import numpy as np
import pytest

from muse_core.postproc.autocalibration.factors import EDGES, SliceSums
from muse_core.postproc.autocalibration.mask import fit_object_free_mask
from muse_core.postproc.autocalibration.tested_factors import fit_tested_factors

pytestmark = pytest.mark.unit
LAMS = (5100.0, 5300.0, 5500.0)


def rows_of(levels, noise=2.0, columns=60, on_columns=None, seed=3):
    """Rows of IFU 3; the levels are [range, slice]; ``on_columns`` adds light to single columns."""
    rng = np.random.default_rng(seed)
    levels = np.atleast_2d(levels)
    k, sli, column, _ = (i.ravel() for i in np.indices((*levels.shape, columns, 60)))
    data = levels[k, sli] + rng.normal(0, noise, k.size)
    if on_columns is not None:
        data += on_columns[sli, column]
    sums = SliceSums(EDGES)
    origin = ((column + 10) << 24 | 3 << 6 | (sli + 1)).astype(np.int32)
    lam = np.array(LAMS, np.float32)[k]
    sums.add(lam, data.astype(np.float32), origin, np.ones(k.size, bool))
    return sums


def factors(found):
    return found.model.factors[1:4, 2]


def test_errors_of_slices_are_taken_out():
    throughput = 1 + np.random.default_rng(1).normal(0, 0.02, 48) + np.zeros((3, 1))
    found = fit_tested_factors(rows_of(100 * throughput))
    corrected = throughput * factors(found)
    assert corrected.std() < 0.002
    assert corrected.mean() == pytest.approx(1.0, abs=0.005)
    assert found.tested == 48
    assert found.corrected > 40


def test_a_range_may_have_its_own_factor():
    throughput = np.ones((3, 48))
    throughput[1, 5] = 1.03
    found = fit_tested_factors(rows_of(100 * throughput))
    assert factors(found)[1, 5] == pytest.approx(1 / 1.03, abs=0.003)
    assert factors(found)[0, 5] == pytest.approx(1.0, abs=0.003)


def test_noise_makes_no_factors():
    found = fit_tested_factors(rows_of(np.full((3, 48), 100.0), noise=8.0))
    assert (factors(found) != 1.0).mean() < 0.1
    assert abs(factors(found) - 1).max() < 0.01


def test_light_on_some_columns_makes_none():
    light = np.zeros((48, 60))
    light[7, 20:24] = 40.0  # a group of columns: one half of the slice
    found = fit_tested_factors(rows_of(np.full((3, 48), 100.0), on_columns=light))
    assert abs(factors(found)[:, 7] - 1).max() < 0.003


def test_slices_without_sky_follow_their_ifu():
    throughput = np.full((3, 48), 1.02)
    sums = rows_of(100 * throughput)
    few = rows_of(np.full((3, 4), 300.0), columns=8)
    sums._count[:, 2, :4], sums._coarse[:, 2, :4], sums._fine[:, 2, :4] = (
        part[:, 2, :4] for part in (few._count, few._coarse, few._fine)
    )
    found = fit_tested_factors(sums)
    assert found.follows == 4
    np.testing.assert_allclose(factors(found)[:, :4], factors(found)[:, 4:].mean(), rtol=2e-3)
    assert {key: value for key, value, _ in found.qc()}["ESO QC SCIPOST AUTOCAL NIFU"] == 4


def test_the_mask_leaves_out_wings_and_keeps_bright_slices():
    y, x = np.mgrid[:60, :90]
    image = np.random.default_rng(2).normal(100.0, 0.5, x.shape)
    image[40] *= 1.02
    star = 1e4 / (1 + ((x - 30) ** 2 + (y - 20) ** 2) / 6.0) ** 2.8
    mask = fit_object_free_mask((image + star).astype(np.float32)).mask
    assert star[mask > 0].mean() < 0.1
    assert star[mask > 0].max() < 5.0
    assert mask.mean() > 0.4
    assert mask[40].mean() > 0.5 * mask[42].mean()
