# SPDX-License-Identifier: BSD-3-Clause
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from product_helpers import (
    FLUX,
    Grid,
    assert_same_cards,
    grid_of,
    open_golden,
    primary,
    random_cube,
)

from muse_core.resampling.collapse import Filter, FilterSet, load_filters, white_filter
from muse_core.resampling.cube_file import CubeReader, CubeWriter
from muse_core.resampling.euro3d import ByteSum, Euro3DGroup, first_finite_planes, write_euro3d
from muse_core.resampling.filter_extensions import MISSING, filter_extension
from muse_core.resampling.grid import OutputGrid
from tests.golden import golden_set

pytestmark = pytest.mark.unit

GROUP = Euro3DGroup(1.2, 45.0, 743.0, 284.65, 14.5)


def output_grid(grid):
    """The project's own grid: its positions of spaxels are part of the format."""
    return OutputGrid(
        nx=grid.nx,
        ny=grid.ny,
        nz=grid.nz,
        crpix=grid.crpix,
        crval=grid.crval,
        matrix=((grid.cd[0][0], grid.cd[0][1]), (grid.cd[1][0], grid.cd[1][1])),
        dlambda=grid.cd[2][2],
        ctype=grid.ctype,
        cunit=grid.cunit,
        scale=(0.2 / 3600, 0.2 / 3600),
    )


@pytest.fixture
def cube(tmp_path):
    grid = output_grid(Grid(nx=7, ny=5, nz=8))
    data, stat = random_cube(grid, gaps=0.3)
    data[:, 2, 3] = np.nan  # a spaxel without data
    data[:3, 1, 1] = np.nan  # one that begins later
    data[3:, 1, 1] = np.arange(5)
    stat[np.isnan(data)] = np.nan
    stat[3:, 1, 1] = 4.0
    path = tmp_path / "cube.fits"
    with CubeWriter(path, primary(), grid, FLUX, "FIELD") as writer:
        writer.write_planes(0, data, stat)
        writer.finish()
    return grid, data, stat, path


def spectra_by_hand(data, stat):
    """Slow twin: rows of E3D_DATA in order."""
    nz, ny, nx = data.shape
    for x in range(nx):
        for y in range(ny):
            finite = np.flatnonzero(np.isfinite(data[:, y, x]))
            if finite.size:
                start = finite[0]
                good = np.isfinite(data[start:, y, x])
                yield (
                    x * ny + y + 1,
                    start + 1,
                    nz - start,
                    np.where(good, data[start:, y, x], 0),
                    np.where(good, 0, MISSING),
                    np.where(good, np.sqrt(stat[start:, y, x]), 0),
                )


@pytest.mark.kernel
@pytest.mark.parametrize("memory", [1, 1 << 28])
def test_euro3d_tables(tmp_path, cube, memory):
    grid, data, stat, path = cube
    out = tmp_path / "euro3d.fits"
    count = write_euro3d(path, out, primary(), grid, GROUP, FLUX, memory_bytes=memory)
    with fits.open(out) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "E3D_DATA", "E3D_GRP"]
        assert all(hdu.verify_datasum() == 1 for hdu in hdus)
        header = hdus[0].header
        assert (header["EURO3D"], header["E3D_VERS"], header["E3D_ADC"]) == ("T", "1.0", "F")
        assert header["BITPIX"] == 16
        table = hdus[1].data
        expected = list(spectra_by_hand(data, stat))
        assert len(table) == count == len(expected) == 34
        ra, dec = grid.voxel_centres()
        for row, (number, start, length, values, quality, deviation) in zip(table, expected, strict=True):
            assert (row["SPEC_ID"], row["SPEC_STA"], row["SPEC_LEN"]) == (number, start, length)
            ix, iy = divmod(number - 1, grid.ny)
            assert (row["XPOS"], row["YPOS"]) == (ra[iy, ix], dec[iy, ix])
            np.testing.assert_array_equal(row["DATA_SPE"][:length], values.astype(np.float32))
            np.testing.assert_array_equal(row["STAT_SPE"][:length], deviation.astype(np.float32))
            np.testing.assert_array_equal(row["QUAL_SPE"][:length], quality)
            assert np.isnan(row["DATA_SPE"][length:]).all()
            assert np.isnan(row["STAT_SPE"][length:]).all()
            assert (row["QUAL_SPE"][length:] == 0).all()
        assert table["SELECTED"].all()
        group = hdus[2].data[0]
        assert group["G_SHAPE"] == "R"
        assert group["G_TEMPER"] == np.float32(284.65)


def test_memory_of_euro3d_is_bounded(tmp_path):
    grid = output_grid(Grid(nx=64, ny=40, nz=400))
    rng = np.random.default_rng(1)
    path = tmp_path / "cube.fits"
    with CubeWriter(path, primary(), grid, FLUX, "FIELD") as writer:
        for k in range(grid.nz):
            plane = rng.normal(size=(1, grid.ny, grid.nx)).astype(np.float32)
            writer.write_planes(k, plane, plane**2)
        writer.finish()
    write_euro3d(path, tmp_path / "warm.fits", primary(), grid, GROUP, FLUX)
    tracemalloc.start()
    write_euro3d(path, tmp_path / "out.fits", primary(), grid, GROUP, FLUX, memory_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20  # the cube has 8 MiB, its tables 12 MiB
    assert (tmp_path / "warm.fits").read_bytes() == (tmp_path / "out.fits").read_bytes()


def test_first_planes():
    data = np.full((4, 2, 2), np.nan, dtype=np.float32)
    data[1:, 0, 1] = 1.0
    data[3, 1, 0] = 2.0
    np.testing.assert_array_equal(first_finite_planes(data), [[4, 1], [3, 4]])


@pytest.mark.law
@pytest.mark.parametrize("cuts", [[], [1], [3, 4, 9], [5, 6, 7, 8]])
def test_the_sum_of_bytes_does_not_depend_on_the_pieces(cuts):
    stream = np.random.default_rng(2).bytes(61)
    whole, parts = ByteSum(), ByteSum()
    whole.add(stream)
    edges = [0, *cuts, len(stream)]
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        parts.add(stream[start:end])
    assert parts.value == whole.value


def test_images_in_cubes(tmp_path, cube):
    grid, data, stat, path = cube
    narrow = Filter("Narrow", np.array([6000.0, 6001.5]), np.array([1.0, 0.5]), 20.5, 20.6)
    images = FilterSet([white_filter(), narrow], grid)
    images.add_planes(0, data, stat)
    extension = filter_extension(images.images[1], grid, FLUX, "FIELD")
    assert extension.header["EXTNAME"] == "Narrow"
    assert extension.header["OBJECT"] == "FIELD (Narrow)"
    assert extension.header["ESO DRS MUSE FILTER ZPAB"] == 20.6
    np.testing.assert_array_equal(extension.data, images.images[1].image())
    out = tmp_path / "x.fits"
    write_euro3d(path, out, primary(), grid, GROUP, FLUX, images=images, object_name="FIELD")
    with fits.open(out) as hdus:
        hdus.verify("exception")
        assert [hdu.header.get("EXTNAME") for hdu in hdus[3:]] == ["white", "white_DQ", "Narrow", "Narrow_DQ"]
        empty = np.isnan(images.images[1].image())
        assert empty.any()
        assert (hdus["Narrow"].data[empty] == 0).all()
        np.testing.assert_array_equal(hdus["Narrow_DQ"].data, np.where(empty, MISSING, 0))


@pytest.mark.golden
def test_golden_euro3d(tmp_path):
    basic = golden_set("scipost_basic")
    golden = open_golden(basic / "out_xEuro3D" / "DATACUBE_FINAL.fits")
    open_golden(basic / "out_default" / "DATACUBE_FINAL.fits").writeto(tmp_path / "cube.fits")
    open_golden(basic / "filter_list.fits").writeto(tmp_path / "filters.fits")
    reader = CubeReader(tmp_path / "cube.fits")
    grid = output_grid(grid_of(reader.header))
    filters, _ = load_filters(["white", "NARROW1"], tmp_path / "filters.fits")
    images = FilterSet(filters, grid, euro3d=True)
    images.add_planes(0, np.asarray(reader.data), np.asarray(reader.stat))
    group = Euro3DGroup.from_header(golden[0].header, 1.1638405, 87.99472)
    write_euro3d(
        tmp_path / "cube.fits",
        tmp_path / "ours.fits",
        primary(),
        grid,
        group,
        FLUX,
        images=images,
        object_name="SYNTH",
    )
    with fits.open(tmp_path / "ours.fits") as ours:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in golden]
        for mine, theirs in zip(ours[1:], golden[1:], strict=True):
            assert_same_cards(mine.header, theirs.header)
        for name in golden[1].columns.names:
            # positions of the spaxels: one rounding of a double
            tolerance = 1e-15 if name in ("XPOS", "YPOS") else 0.0
            mine, theirs = ours[1].data[name], golden[1].data[name]
            if mine.dtype.kind in "fi":
                np.testing.assert_allclose(mine, theirs, rtol=tolerance, equal_nan=True, err_msg=name)
            else:
                assert (mine == theirs).all()
        assert ours[2].data.tolist() == golden[2].data.tolist()
        for number in (3, 4, 5, 6):
            np.testing.assert_array_equal(ours[number].data, golden[number].data)
