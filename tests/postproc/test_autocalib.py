# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from astropy.io import fits
from postproc_golden import golden, load_table

from muse_core.data.block import Block
from muse_core.postproc.autocalibration.factors import (
    EDGES,
    EDGES_LASER,
    SliceSums,
    fit_autocal,
    load_factors,
    range_edges,
)
from muse_core.postproc.autocalibration.levels import SliceLevels, clipped_mean, clipped_total, correct_slices
from muse_core.postproc.autocalibration.mask import fit_autocal_mask

pytestmark = pytest.mark.kernel


def make_rows(levels, *, n_column=30, n_row=60, lam=5100.0):
    """Rows of IFU 3 with one level per slice, without noise but with a small slope along the columns."""
    sli, column, _ = (i.ravel() for i in np.indices((len(levels), n_column, n_row)))
    data = (np.asarray(levels)[sli] + 0.001 * (column - (n_column - 1) / 2)).astype(np.float32)
    origin = ((column + 10) << 24 | 3 << 6 | (sli + 1)).astype(np.int32)
    return np.full(data.size, lam, np.float32), data, origin


def apply(model, lam, data, stat, origin):
    empty = np.zeros(lam.size, np.float32)
    rows = np.arange(lam.size)
    model.apply(Block(empty, empty, lam, data, np.zeros(lam.size, np.int32), stat, origin, rows))


def fit_rows(lam, data, origin, selected=None):
    sums = SliceSums(EDGES)
    sums.add(lam, data, origin, np.ones(data.size, bool) if selected is None else selected)
    return fit_autocal(sums)


@pytest.mark.unit
def test_modes_have_their_ranges():
    assert EDGES.size == 21
    assert EDGES_LASER.size == 20
    assert 5850.0 not in EDGES_LASER
    assert range_edges({"ESO INS MODE": "WFM-AO-N"}) is EDGES_LASER
    assert range_edges({"ESO INS MODE": "WFM-NOAO-N"}) is EDGES


@pytest.mark.unit
def test_slices_are_brought_to_one_level():
    levels = 100.0 + np.tile([-1.0, 0.0, 1.0], 16)
    lam, data, origin = make_rows(levels)
    model = fit_rows(lam, data, origin)
    np.testing.assert_allclose(model.factors[1, 2], 100.0 / levels, rtol=1e-7)
    assert (np.delete(model.factors[1], 2, axis=0) == 1.0).all()
    assert (model.factors[[0, 2]] == 1.0).all()
    stat = np.ones_like(data)
    apply(model, lam, data, stat, origin)
    np.testing.assert_allclose(data, 100.0, atol=0.02)  # the slope along the columns stays
    np.testing.assert_allclose(stat, model.factors[1, 2, (origin & 0x3F) - 1] ** 2, rtol=1e-7)
    assert model.cards()[0][1] == "slice-median"


@pytest.mark.unit
def test_number_of_rows_and_columns_that_are_needed():
    levels = 100.0 + np.tile([-1.0, 0.0, 1.0], 16)
    for n_column, n_row, valid in ((21, 51, True), (20, 51, False), (21, 50, False)):
        sums = SliceSums(EDGES)
        lam, data, origin = make_rows(levels, n_column=n_column, n_row=n_row)
        sums.add(lam, data, origin, np.ones(data.size, bool))
        measured = SliceLevels.measure(*sums.column_means(1)).valid
        assert measured[2].all() == valid
        assert measured.sum() == (48 if valid else 0)


@pytest.mark.unit
def test_masked_rows_do_not_count():
    levels = 100.0 + np.tile([-1.0, 0.0, 1.0], 16)
    lam, data, origin = make_rows(levels)
    bad = np.arange(data.size) % 7 == 0
    data[bad] = 1e6
    model = fit_rows(lam, data, origin, ~bad)
    np.testing.assert_allclose(model.factors[1, 2], 100.0 / levels, rtol=1e-7)
    assert model.npts.sum() == (~bad).sum()


@pytest.mark.unit
def test_values_that_are_not_finite_are_left_out():
    lam, data, origin = make_rows(np.full(48, 50.0))
    data[::11] = np.nan
    model = fit_rows(lam, data, origin)
    np.testing.assert_allclose(model.factors[1, 2], 1.0, rtol=1e-6)


@pytest.mark.unit
def test_missing_slice_takes_the_mean_of_its_half():
    levels = np.full((24, 48), np.nan)
    levels[4, :24], levels[4, 24:] = 110.0, 90.0
    levels[4, 7] = np.nan
    halves = np.full((24, 2), np.nan)
    halves[4] = 110.0, 90.0
    factors = correct_slices(SliceLevels(levels, halves, 100.0, np.isfinite(levels)))
    np.testing.assert_allclose(factors[4, :24], 100 / 110)
    np.testing.assert_allclose(factors[4, 24:], 100 / 90)
    assert (factors[3] == 1.0).all()


@pytest.mark.unit
def test_poor_half_takes_the_mean_of_the_other():
    levels = 100.0 + np.tile([-1.0, 0.0, 1.0], 16)
    lam, data, origin = make_rows(levels)
    keep = (origin & 0x3F) > 12  # 12 slices of the left half are left
    sums = SliceSums(EDGES)
    sums.add(lam, data, origin, keep)
    measured = SliceLevels.measure(*sums.column_means(1))
    assert measured.halves[2, 0] == measured.halves[2, 1] == pytest.approx(100.0)


@pytest.mark.unit
def test_outlying_factor_is_replaced():
    levels = np.full((24, 48), np.nan)
    levels[0] = 100.0 + 0.1 * np.tile([-1.0, 0.0, 1.0], 16)
    levels[0, 5] = 200.0
    halves = np.full((24, 2), np.nan)
    halves[0] = 100.0
    factors = correct_slices(SliceLevels(levels, halves, 100.0, np.isfinite(levels)))
    assert factors[0, 5] == 1.0
    assert factors[0, 0] == pytest.approx(100 / 99.9)


@pytest.mark.unit
def test_single_factor_along_wavelength_is_cleaned():
    levels = 100.0 + np.tile([-1.0, 0.0, 1.0], 16)
    levels[5] = 96.0
    lam, data, origin = make_rows(levels)
    model = fit_rows(lam, data, origin)
    assert model.original[1, 2, 5] == pytest.approx(np.delete(levels, 5).mean() / 96, rel=1e-6)
    assert model.factors[1, 2, 5] == 1.0  # mean of the two neighbouring ranges without data
    assert np.isfinite(model.original).sum() == 1


@pytest.mark.unit
def test_clipped_mean():
    z = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 100.0])
    assert clipped_mean(z)[::2] == (3.0, 5)
    assert clipped_mean(z, minimum=6)[0] == pytest.approx(115 / 6)
    assert clipped_mean(np.array([7.0] * 4 + [9.0])) == (7.4, 0.0, 5)  # no deviation, no clipping
    assert clipped_mean(np.empty(0))[2] == 0
    assert clipped_total(np.array([1.0] * 20 + [50.0])) == 1.0
    assert np.isnan(clipped_total(np.empty(0)))


@pytest.mark.law
def test_order_and_size_of_blocks_do_not_matter():
    rng = np.random.default_rng(7)
    lam, data, origin = make_rows(100.0 + rng.normal(0, 1, 48))
    data *= rng.lognormal(0, 1, data.size).astype(np.float32)
    whole = fit_rows(lam, data, origin)
    order = rng.permutation(data.size)
    parts = [SliceSums(EDGES) for _ in range(3)]
    for k, rows in enumerate(np.array_split(order, 11)):
        parts[k % 3].add(lam[rows], data[rows], origin[rows], np.ones(rows.size, bool))
    parts[2].merge(parts[0])
    parts[2].merge(parts[1])
    np.testing.assert_array_equal(fit_autocal(parts[2]).factors, whole.factors)


@pytest.mark.unit
def test_sums_over_other_ranges_cannot_be_joined():
    with pytest.raises(ValueError, match="ranges"):
        SliceSums(EDGES).merge(SliceSums(EDGES_LASER))


def user_table(edges=EDGES, factor=lambda quad, ifu, sli: 1 + 0.01 * quad):
    n = len(edges) - 1
    quad, ifu, sli = (i.ravel() + 1 for i in np.indices((n, 24, 48)))
    header = {}
    for k in range(n):
        header[f"ESO DRS MUSE LAMBDA{k + 1} MIN"] = float(edges[k])
        header[f"ESO DRS MUSE LAMBDA{k + 1} MAX"] = float(edges[k + 1])
    columns = {"ifu": ifu, "sli": sli, "quad": quad, "npts": ifu * 0 + 9, "corr": factor(quad, ifu, sli)}
    return header, columns


def correct_at_edges(model):
    lam = np.append(EDGES, [-5.0, 12000.0]).astype(np.float32)
    data, stat = np.full(lam.size, 100, np.float32), np.full(lam.size, 4, np.float32)
    apply(model, lam, data, stat, np.full(lam.size, 10 << 6 | 5, np.int32))
    return data, stat


@pytest.mark.unit
def test_user_factors_as_measured_with_the_c_pipeline():
    data, stat = correct_at_edges(load_factors(*user_table(), factors_by_row_number=True))
    np.testing.assert_allclose(data[:20], 101.0 + np.arange(20), rtol=1e-7)
    np.testing.assert_allclose(stat[:20], 4 * (1.01 + 0.01 * np.arange(20)) ** 2, rtol=1e-6)
    assert (data[20:] == 0).all()
    assert (correct_at_edges(load_factors(*user_table()))[0][20:] == 100).all()


@pytest.mark.unit
def test_user_factors_in_another_order():
    header, columns = user_table(factor=lambda quad, ifu, sli: quad + 0.01 * ifu + 0.0001 * sli)
    order = np.random.default_rng(2).permutation(columns["quad"].size)[:-500]
    model = load_factors(header, {name: column[order] for name, column in columns.items()})
    q, i, s = columns["quad"][order[0]], columns["ifu"][order[0]], columns["sli"][order[0]]
    assert model.factors[q - 1, i - 1, s - 1] == columns["corr"][order[0]]
    assert (model.factors == 1.0).sum() == 500


@pytest.mark.unit
def test_bad_user_tables(caplog):
    header, columns = user_table()
    assert load_factors({}, columns) is None
    assert "LAMBDA1" in caplog.text
    header["ESO DRS MUSE LAMBDA2 MIN"] = 5100.0
    with pytest.raises(ValueError, match="adjoining"):
        load_factors(header, columns)


@pytest.mark.unit
def test_columns_of_the_product_can_be_loaded_again():
    lam, data, origin = make_rows(100.0 + np.tile([-1.0, 0.0, 1.0], 16))
    model = fit_rows(lam, data, origin)
    header = {key: value for key, value, _ in model.range_cards()}
    np.testing.assert_array_equal(load_factors(header, model.columns()).factors, model.factors)


@pytest.mark.unit
def test_mask_of_objects():
    rng = np.random.default_rng(3)
    image = rng.normal(10.0, 1.0, (40, 50))
    image[10:13, 20:23] = 500.0
    image[30, 30] = 500.0  # a single pixel is eroded away
    good = np.ones(image.shape, bool)
    good[0, :] = False
    result = fit_autocal_mask(image, good)
    assert (result.mask[8:15, 18:25] == 0).all()
    assert result.mask[30, 30] == 1
    assert (result.mask[0] == 0).all()  # empty border pixels stay, and grow
    assert result.low < 10 < result.high
    assert (fit_autocal_mask(image, np.zeros(image.shape, bool)).mask == 0).all()


@pytest.mark.golden
def test_factors_of_the_c_pipeline():
    sums = SliceSums(EDGES)
    for ifu in (11, 12):
        _, table = load_table(golden("autocal", f"PIXTABLE_OBJECT_0001-{ifu}.fits"))
        sums.add(table["lambda"], table["data"], table["origin"], np.ones(table["data"].size, bool))
    columns = fit_autocal(sums).columns()
    peer = fits.getdata(golden("autocal", "out_deepfield", "AUTOCAL_FACTORS_0001.fits"))
    for name in ("ifu", "sli", "quad", "npts"):
        np.testing.assert_array_equal(columns[name], peer[name])
    np.testing.assert_allclose(columns["corr"], peer["corr"], rtol=0, atol=3e-7)  # float32 in the peer
    np.testing.assert_allclose(columns["corr_orig"], peer["corr_orig"], rtol=0, atol=3e-7)
    assert np.isfinite(columns["corr_orig"]).sum() == 3
