# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from astropy.io import fits
from postproc_golden import golden, load_table, ulps

from muse_core.data.block import Block
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.lsf.images import LsfImage, pad_samples
from muse_core.postproc.lsf.load import load_lsf
from muse_core.postproc.raman.model import (
    RamanModel,
    RamanSums,
    fit_raman,
    raman_bands,
    raman_shapes,
)

pytestmark = pytest.mark.kernel

SPATIAL = (-2e-5, 3e-5, 1e-4, 2e-3, -4e-3)


def gaussian_lsf(ifus=(3, 4)):
    x = np.linspace(-7.5, 7.5, 150)
    rows = np.arange(30)
    profile = np.exp(-0.5 * (x / (1.2 - 0.01 * rows[:, np.newaxis])) ** 2)
    row = np.full(1152, -1, np.int32)
    for ifu in ifus:
        row[(ifu - 1) * 48 : ifu * 48] = 0
    return LsfImage(pad_samples(profile[np.newaxis]), -7.5, x[1] - x[0], 4650.0, 4650 / 29, row)


def shapes(lsf=None):
    return raman_shapes(
        lam=[6484.4, 6480.9, 6827.0, 6500.0, 6490.0],
        flux=[100.0, 30.0, 50.0, 7.0, 1e6],
        group=[0, 0, 1, 5, 0],  # group 5 does not exist
        dq=[0, 0, 0, 0, 1],  # the last line is flagged
        lsf=lsf or gaussian_lsf(),
    )


def make_rows(n=6000, seed=1, strength=(2.0, 5.0), background=(40.0, 70.0), noise=0.0):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-150, 150, (2, n)).astype(np.float32)
    lam = np.concatenate([rng.uniform(6470, 6498, n // 2), rng.uniform(6813, 6841, n - n // 2)])
    lam = lam.astype(np.float32)
    origin = (rng.integers(3, 5, n) << 6 | rng.integers(1, 49, n)).astype(np.int32)
    shape = shapes().evaluate(lam, origin)
    xx, xy, yy, cx, cy = SPATIAL
    p = xx * x.astype(float) ** 2 + xy * x.astype(float) * y + yy * y.astype(float) ** 2 + cx * x + cy * y + 1
    level = np.where(lam < 6600, *background)
    data = level + p * (np.array(strength) @ shape) + rng.normal(0, noise or 1e-30, n)
    return x, y, lam, data.astype(np.float32), origin


def apply(model, x, y, lam, data, origin):
    empty = np.zeros(lam.size, np.float32)
    model.apply(Block(x, y, lam, data, empty.astype(np.int32), empty, origin, np.arange(lam.size)))


def fit(rows, bands=None, selected=None):
    bands = bands or raman_bands((4700.0, 9300.0), 20.0)
    sums = RamanSums(bands, shapes())
    for band in bands:
        sums.add(band, *rows, np.ones(rows[0].size, bool) if selected is None else selected)
    return fit_raman(sums)


@pytest.mark.unit
def test_bands(caplog):
    bands = raman_bands((4700.0, 9300.0), 20.0)
    assert [(band.name, band.low, band.high) for band in bands] == [
        ("O2", 6474.0, 6494.0),
        ("N2", 6817.0, 6837.0),
    ]
    assert [band.name for band in raman_bands((4700.0, 6474.0), 20.0)] == ["O2"]
    assert "N2 feature not possible" in caplog.text
    outside, narrow = raman_bands((4700.0, 5000.0), 20.0), raman_bands((4700.0, 9300.0), 2.6)
    assert isinstance(outside, Skipped)
    assert isinstance(narrow, Skipped)
    assert "range" in outside.reason
    assert "2.60" in narrow.reason


@pytest.mark.unit
def test_line_shapes_have_the_flux_of_their_lines():
    model = shapes()
    lam = np.arange(6470.0, 6500.0, 0.05).astype(np.float32)
    m = model.evaluate(lam, np.full(lam.size, 3 << 6 | 7, np.int32))
    assert m[0].sum() * 0.05 == pytest.approx(130.0, rel=1e-4)
    assert (m[1] == 0).all()
    assert (model.total_flux(0), model.total_flux(1)) == (130.0, 50.0)
    without_profile = model.evaluate(lam, np.full(lam.size, 9 << 6 | 7, np.int32))
    assert (without_profile == 0).all()


def test_rows_without_a_place_do_not_count():
    x, y, lam, data, origin = make_rows()
    x[::7], y[3::11], data[5::13] = np.nan, np.inf, np.nan
    model = fit((x, y, lam, data, origin))
    np.testing.assert_allclose(model.spatial, SPATIAL, rtol=1e-4)


@pytest.mark.unit
def test_known_light_is_found_and_removed():
    rows = make_rows()
    model = fit(rows)
    np.testing.assert_allclose(model.spatial, SPATIAL, rtol=1e-4)  # data are float32
    np.testing.assert_allclose(model.strength, (2.0, 5.0), rtol=1e-5)
    np.testing.assert_allclose(model.background, (40.0, 70.0), rtol=1e-5)
    x, y, lam, data, origin = rows
    apply(model, x, y, lam, data, origin)
    np.testing.assert_allclose(data, np.where(lam < 6600, 40.0, 70.0), atol=1e-3)


@pytest.mark.unit
def test_one_band_is_enough():
    bands = raman_bands((4700.0, 6700.0), 20.0)
    model = fit(make_rows(), bands)
    np.testing.assert_allclose(model.spatial, SPATIAL, rtol=1e-3)
    assert model.strength[0] == pytest.approx(2.0, rel=1e-4)
    assert model.strength[1] == 0.0
    assert model.flux(0) == pytest.approx(2.0 * 130 * 1e-20, rel=1e-4)


@pytest.mark.unit
def test_rows_that_are_not_selected_do_not_count():
    rows = make_rows()
    bad = np.arange(rows[0].size) % 9 == 0
    rows[3][bad] += 1e4
    np.testing.assert_allclose(fit(rows, selected=~bad).strength, (2.0, 5.0), rtol=1e-5)


@pytest.mark.unit
def test_joint_solution_is_a_minimum_of_chi_square():
    rows = make_rows(noise=30.0)
    model = fit(rows)
    x, y, lam, data, origin = (column.astype(np.float64) for column in rows)
    shape = shapes().evaluate(rows[2], rows[4])
    inside = ((lam >= 6474) & (lam <= 6494)) | ((lam >= 6817) & (lam <= 6837))

    def chi_square(spatial, strength, background):
        xx, xy, yy, cx, cy = spatial
        p = xx * x * x + xy * x * y + yy * y * y + cx * x + cy * y + 1
        residual = data - p * (np.array(strength) @ shape) - np.where(lam < 6600, *background)
        return float((residual[inside] ** 2).sum())

    best = chi_square(model.spatial, model.strength, model.background)
    parameters = np.concatenate([model.spatial, model.strength, model.background])
    for k in range(parameters.size):
        for factor in (0.999, 1.001):
            trial = parameters.copy()
            trial[k] *= factor
            assert chi_square(trial[:5], trial[5:7], trial[7:]) > best


@pytest.mark.law
def test_order_and_size_of_blocks_do_not_matter():
    rows = make_rows(noise=5.0)
    bands = raman_bands((4700.0, 9300.0), 20.0)
    whole = fit(rows)
    parts = [RamanSums(bands, shapes()) for _ in range(2)]
    order = np.random.default_rng(3).permutation(rows[0].size)
    for k, index in enumerate(np.array_split(order, 13)):
        block = [column[index] for column in rows]
        for band in bands:
            parts[k % 2].add(band, *block, np.ones(index.size, bool))
    parts[1].merge(parts[0])
    again = fit_raman(parts[1])
    assert (again.spatial, again.strength) == (whole.spatial, whole.strength)


@pytest.mark.unit
def test_a_fit_says_whether_it_converged(monkeypatch, caplog):
    assert fit(make_rows(noise=5.0)).converged
    few = [column[:4] for column in make_rows(noise=5.0)]
    assert not fit(few).converged
    assert "not well determined" in caplog.text
    monkeypatch.setattr("muse_core.postproc.raman.model.MOST_STEPS", 1)
    assert not fit(make_rows(noise=5.0)).converged
    assert "no convergence" in caplog.text


@pytest.mark.unit
def test_nothing_to_fit():
    bands = raman_bands((4700.0, 9300.0), 20.0)
    skipped = fit_raman(RamanSums(bands, shapes()))
    assert isinstance(skipped, Skipped)
    assert "no usable rows" in skipped.reason


@pytest.mark.unit
def test_image_of_the_field():
    model = RamanModel(SPATIAL, (1.0, 0.0), (0.0, 0.0), shapes())
    image = model.field_image([0.0, 10.0], [0.0, 5.0, 20.0])
    assert image.shape == (3, 2)
    assert image[0, 0] == 1.0
    expected = -2e-5 * 100 + 3e-5 * 200 + 1e-4 * 400 + 2e-3 * 10 - 4e-3 * 20 + 1
    assert image[2, 1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.golden
def test_subtraction_with_the_coefficients_of_the_c_pipeline():
    lsf = load_lsf([golden("raman", f"LSF_PROFILE-{ifu}.fits") for ifu in (11, 14)])
    with fits.open(golden("raman", "raman_lines.fits")) as hdus:
        lines = [np.array(hdus[1].data[name]) for name in ("lambda", "flux", "group", "dq")]
    prepared = raman_shapes(*lines, lsf)
    _, peer = load_table(golden("raman", "out_raman", "PIXTABLE_REDUCED_0001.fits"))
    with fits.open(golden("raman", "out_raman", "RAMAN_IMAGES_0001.fits")) as hdus:
        header = hdus[0].header
        spatial = tuple(
            header[f"ESO QC SCIPOST RAMAN SPATIAL {name}"] for name in ("XX", "XY", "YY", "X", "Y")
        )
        flux = header["ESO QC SCIPOST RAMAN FLUX O2"]
        field, grid = hdus["DATA"].data[0], hdus["DATA"].header
        mask = hdus["SKY_MASK_O2"].data
    model = RamanModel(spatial, (flux / (prepared.total_flux(0) * 1e-20), 0.0), (0.0, 0.0), prepared)
    x = grid["CRVAL1"] + np.arange(field.shape[1])
    y = grid["CRVAL2"] + np.arange(field.shape[0])
    np.testing.assert_array_equal(model.field_image(x, y), field)

    tables = [load_table(golden("raman", f"PIXTABLE_OBJECT_0001-{ifu}.fits"))[1] for ifu in (11, 14)]
    table = {name: np.concatenate([part[name] for part in tables]) for name in tables[0]}
    columns = [table[name] for name in ("xpos", "ypos", "lambda", "data", "origin")]
    given = table["data"].copy()
    apply(model, *columns[:3], given, columns[4])
    assert ulps(given, peer["data"]).max() <= 1.0  # the header gives the flux with seven digits
    assert np.abs(given - table["data"]).max() > 40.0

    # own fit: the peer stops early, so only the resulting data are compared
    ix = np.floor(table["xpos"] - grid["CRVAL1"] + 0.5).astype(int)
    iy = np.floor(table["ypos"] - grid["CRVAL2"] + 0.5).astype(int)
    inside = (ix >= 0) & (ix < field.shape[1]) & (iy >= 0) & (iy < field.shape[0])
    selected = np.zeros(ix.size, bool)
    selected[inside] = mask[iy[inside], ix[inside]] > 0
    bands = raman_bands((float(table["lambda"].min()), float(table["lambda"].max())), 20.0)
    sums = RamanSums(bands, prepared)
    sums.add(bands[0], *columns, selected & (table["dq"] == 0))
    apply(fit_raman(sums), *columns)
    assert np.abs((table["data"] - peer["data"]) / np.sqrt(peer["stat"])).max() < 0.1
