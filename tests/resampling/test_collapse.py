# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from astropy.io import fits
from product_helpers import FLUX, Grid, assert_same_cards, grid_of, open_golden, random_cube

from muse_core.framework import InputError
from muse_core.resampling.collapse import Filter, FilterSet, load_filters, split_filter_names, white_filter
from muse_core.resampling.cube_cards import plane_wavelengths
from tests.golden import golden_set

pytestmark = [pytest.mark.unit, pytest.mark.kernel]


@pytest.fixture
def filter_list(tmp_path):
    wavelength = np.linspace(5990.0, 6010.0, 21)
    hdus = [fits.PrimaryHDU()]
    for name, peak in (("Narrow_a", 6001.0), ("NARROW_A", 6004.0)):
        columns = [
            fits.Column("lambda", "D", array=wavelength),
            fits.Column("throughput", "D", array=np.exp(-0.5 * ((wavelength - peak) / 2.0) ** 2)),
        ]
        hdu = fits.BinTableHDU.from_columns(columns)
        hdu.header["EXTNAME"] = name
        hdu.header["ZP_VEGA"] = 20.5
        hdus.append(hdu)
    path = tmp_path / "filters.fits"
    fits.HDUList(hdus).writeto(path)
    return path


def slow_image(band, grid, data, stat=None):
    """Twin of the kernels: the whole cube at once."""
    weight = band.at(plane_wavelengths(grid))[:, None, None] * np.isfinite(data)
    if stat is not None:
        weight = weight / np.where(stat > 0, stat, np.inf)
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return (weight * np.nan_to_num(data.astype(float))).sum(axis=0) / np.where(total > 0, total, np.nan)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("use_variance", [False, True])
def test_images_are_weighted_means(filter_list, use_variance, log):
    grid = Grid(log_wavelength=log)
    data, stat = random_cube(grid, gaps=0.4)
    stat[:, 2, 3] = 0.0
    data[:, 0, 0] = np.nan
    filters, missing = load_filters(["white", "Narrow_a", "none", "NARROW_A"], filter_list)
    assert missing == ["none"]
    images = FilterSet(filters, grid, use_variance=use_variance)
    images.add_planes(0, data, stat)
    for image in images:
        expected = slow_image(image.band, grid, data, stat if use_variance else None)
        # rtol: one float32 rounding of the result
        np.testing.assert_allclose(image.image(), expected, rtol=1.2e-7, equal_nan=True)
        assert np.isnan(image.image()[0, 0])


@pytest.mark.law
def test_slab_size_does_not_matter(filter_list):
    grid = Grid(nz=11)
    data, stat = random_cube(grid)
    filters, _ = load_filters(["white", "Narrow_a"], filter_list)
    whole = FilterSet(filters, grid)
    whole.add_planes(0, data, stat)
    for size in (1, 3, 4):
        parts = FilterSet(filters, grid)
        for k0 in range(0, grid.nz, size):
            parts.add_planes(k0, data[k0 : k0 + size], stat[k0 : k0 + size])
        for one, other in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one.image(), other.image())


@pytest.mark.law
def test_a_constant_cube_gives_constant_images(filter_list):
    grid = Grid()
    data, stat = random_cube(grid)
    data[np.isfinite(data)] = 7.25
    filters, _ = load_filters(["white", "Narrow_a"], filter_list)
    images = FilterSet(filters, grid, use_variance=True)
    images.add_planes(0, data, stat)
    for image in images:
        values = image.image()
        np.testing.assert_allclose(values[np.isfinite(values)], 7.25, rtol=1e-7)


def test_white_is_a_box_with_its_ends_included():
    white = white_filter()
    np.testing.assert_array_equal(
        white.at([4649.5, 4649.99, 4650.0, 7000.0, 9300.0, 9300.1]), [0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    )
    # fractions written by the C pipeline for cubes of 19 planes of 1.25 A
    for start, count in ((6887.0, 23), (6887.25, 24), (6887.125, 23), (4650.0, 23), (4648.5, 22)):
        assert white.coverage(start, start + 19 * 1.25) == pytest.approx(100.0 * count / 4650.0)


def test_filter_outside_the_cube_gives_an_empty_image():
    grid = Grid()
    band = Filter("far", np.array([8000.0, 8010.0]), np.array([1.0, 1.0]))
    images = FilterSet([band], grid)
    data, stat = random_cube(grid)
    images.add_planes(0, data, stat)
    (image,) = images
    assert not image.covers_any_plane
    assert np.isnan(image.image()).all()
    assert {key: value for key, value, _ in image.drs_cards()}["ESO DRS MUSE FILTER FRACTION"] == 0.0


def test_planes_must_come_in_order():
    grid = Grid()
    data, stat = random_cube(grid)
    images = FilterSet([white_filter()], grid)
    with pytest.raises(ValueError, match="plane 0 expected"):
        images.add_planes(2, data[2:], stat[2:])


def test_filter_names_and_broken_tables(tmp_path, filter_list):
    assert split_filter_names(" white, ,Cousins_R,") == ["white", "Cousins_R"]
    with fits.open(filter_list) as hdus:
        hdus[1].columns.change_name("throughput", "other")
        hdus.writeto(tmp_path / "broken.fits")
    with pytest.raises(InputError, match=r"broken\.fits: filter .* no column 'throughput'"):
        load_filters(["Narrow_a"], tmp_path / "broken.fits")
    assert load_filters(["white"], tmp_path / "absent.fits")[1] == []


@pytest.mark.golden
def test_golden_images(tmp_path):
    basic = golden_set("scipost_basic")
    cube = open_golden(basic / "out_default" / "DATACUBE_FINAL.fits")
    path = tmp_path / "filters.fits"
    open_golden(basic / "filter_list.fits").writeto(path, output_verify="ignore")
    filters, missing = load_filters(["white", "NARROW1", "WIDE1"], path)
    assert missing == []
    images = FilterSet(filters, grid_of(cube["DATA"].header))
    images.add_planes(0, cube["DATA"].data, cube["STAT"].data)
    for number, image in enumerate(images, 1):
        golden = open_golden(basic / "out_default" / f"IMAGE_FOV_{number:04d}.fits")
        # the same sums in the same order: at most one rounding
        np.testing.assert_allclose(image.image(), golden["DATA"].data, rtol=6e-8, equal_nan=True)
        assert_same_cards(image.hdu(FLUX).header, golden["DATA"].header)
        for key, value, _ in image.drs_cards():
            assert golden[0].header[key] == value
        assert golden[0].header["OBJECT"] == image.object_name("SYNTH")


def test_covered_range_of_a_logarithmic_axis():
    # cube of the C pipeline: 10 planes from 6880 A with CD3_3 = 4 give 40 of the 4650 whole
    # Angstrom of "white"
    grid = Grid(nz=10, crval=(150.1, -30.2, 6880.0), cd=np.diag([-1.0, 1.0, 4.0]), log_wavelength=True)
    (image,) = FilterSet([white_filter()], grid)
    assert image.fraction == pytest.approx(100.0 * 40 / 4650)
