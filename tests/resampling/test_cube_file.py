# SPDX-License-Identifier: BSD-3-Clause
import threading

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from product_helpers import (
    FLUX,
    Grid,
    assert_same_cards,
    grid_of,
    open_golden,
    pixel_grid,
    primary,
    random_cube,
)

from muse_core.framework.products import sign
from muse_core.resampling.cube_cards import data_unit_text, variance_unit_text
from muse_core.resampling.cube_file import CubeReader, CubeWriter
from tests.golden import golden_set

pytestmark = pytest.mark.unit


def write(path, grid, data, stat, step=2, order=1, **options):
    with CubeWriter(path, primary(), grid, FLUX, "FIELD", **options) as cube:
        for k0 in range(0, grid.nz, step)[::order]:
            cube.write_planes(k0, data[k0 : k0 + step], stat[k0 : k0 + step])
        cube.finish()


def test_planes_in_any_order_give_the_same_file(tmp_path):
    grid = Grid(nz=7)
    data, stat = random_cube(grid)
    write(tmp_path / "a.fits", grid, data, stat)
    write(tmp_path / "b.fits", grid, data, stat, step=3, order=-1)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus["DATA"].data, data)
        np.testing.assert_array_equal(hdus["STAT"].data, stat)
        for hdu in hdus[1:]:
            assert hdu.verify_datasum() == 1


@pytest.mark.parametrize("hashed", [0, 3, 7])
def test_sums_of_the_writer_are_those_of_the_file(hashed, tmp_path):
    grid = Grid(nz=7)
    data, stat = random_cube(grid)
    header = primary()
    header["DATAMD5"] = ("0" * 32, "MD5 checksum")
    for name in ("a.fits", "b.fits"):
        with CubeWriter(tmp_path / name, header, grid, FLUX, "FIELD") as cube:
            cube.write_planes(0, data[:4], stat[:4])
            cube.hash_rows(min(hashed, 4))
            cube.write_planes(4, data[4:], stat[4:])
            cube.hash_rows(hashed)
            more = fits.ImageHDU(np.arange(12.0, dtype=np.float32).reshape(3, 4), name="white")
            cube.finish(header, [more])
        sign(tmp_path / name, cube.sums if name == "a.fits" else None)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()
    with pytest.raises(ValueError, match="closed"):
        cube.hash_rows(7)


def test_threads_may_share_the_writer(tmp_path):
    grid = Grid(nz=24)
    data, stat = random_cube(grid)
    with CubeWriter(tmp_path / "cube.fits", primary(), grid, "count", "") as cube:

        def work(first):
            for k in range(first, grid.nz, 4):
                cube.write_planes(k, data[k : k + 1], stat[k : k + 1])

        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cube.finish()
    reader = CubeReader(tmp_path / "cube.fits")
    np.testing.assert_array_equal(reader.data, data)
    np.testing.assert_array_equal(reader.stat, stat)
    assert reader.stat_header["BUNIT"] == "(count)**2"
    assert reader.header["OBJECT"] == "(DATA)"


@pytest.mark.parametrize("reserve", [0, 100])
@pytest.mark.parametrize("added", [0, 5, 60])
def test_the_primary_header_may_grow_at_the_end(tmp_path, reserve, added):
    grid = Grid()
    data, stat = random_cube(grid)
    image = fits.ImageHDU(np.arange(12, dtype=np.float32).reshape(3, 4), name="white")
    with CubeWriter(tmp_path / "cube.fits", primary(), grid, FLUX, "FIELD", reserve_cards=reserve) as cube:
        cube.write_planes(0, data, stat)
        header = primary()
        for k in range(added):
            header[f"HIERARCH ESO QC SCIPOST POS{k} X"] = float(k)
        cube.finish(header, [image])
    with fits.open(tmp_path / "cube.fits") as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DATA", "STAT", "WHITE"]
        assert len([key for key in hdus[0].header if key.startswith("ESO QC")]) == added
        np.testing.assert_array_equal(hdus["DATA"].data, data)
        np.testing.assert_array_equal(hdus["STAT"].data, stat)
        np.testing.assert_array_equal(hdus["white"].data, image.data)
        assert all(hdu.verify_datasum() == 1 for hdu in hdus)


def test_missing_and_repeated_planes_are_refused(tmp_path):
    grid = Grid()
    data, stat = random_cube(grid)
    with CubeWriter(tmp_path / "cube.fits", primary(), grid, FLUX, "FIELD") as cube:
        cube.write_planes(0, data[:2], stat[:2])
        with pytest.raises(ValueError, match="written before"):
            cube.write_planes(1, data[1:3], stat[1:3])
        with pytest.raises(ValueError, match="do not fit"):
            cube.write_planes(5, data[:2], stat[:2])
        with pytest.raises(ValueError, match="4 of 6 rows were not written"):
            cube.finish()


def test_units():
    assert data_unit_text(FLUX, sdp=True) == "10**(-20)erg.s**(-1).cm**(-2).angstrom**(-1)"
    assert variance_unit_text(FLUX, sdp=True) == "10**(-40)erg**2.s**(-2).cm**(-4).angstrom**(-2)"
    assert variance_unit_text("count", sdp=True) == "(count)**2"


def test_astropy_reads_the_world_coordinates(tmp_path):
    grid = Grid()
    data, stat = random_cube(grid)
    write(tmp_path / "cube.fits", grid, data, stat)
    with fits.open(tmp_path / "cube.fits") as hdus:
        wcs = WCS(hdus["DATA"].header)
    ra, dec, wavelength = wcs.wcs_pix2world([[6.25, 5.5, 3.0]], 1)[0]
    assert (ra, dec) == pytest.approx((150.1, -30.2))
    assert wavelength == pytest.approx(6002.5e-10)  # astropy counts in metres


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")  # about the two slashes in BUNIT
def test_mpdaf_reads_the_cube(tmp_path):
    from mpdaf.obj import Cube

    grid = Grid()
    data, stat = random_cube(grid)
    write(tmp_path / "cube.fits", grid, data, stat)
    cube = Cube(str(tmp_path / "cube.fits"))
    np.testing.assert_array_equal(cube.data.filled(np.nan), data)
    np.testing.assert_array_equal(np.where(cube.mask, np.nan, cube.var.filled(np.nan)), stat)
    assert cube.wave.coord(2) == pytest.approx(6002.5)
    dec, ra = cube.wcs.pix2sky([4.5, 5.25])[0]
    assert (ra, dec) == pytest.approx((150.1, -30.2))
    assert cube.unit.to_string() == "1e-20 erg / (Angstrom s cm2)"


def test_pixel_grid_headers(tmp_path):
    grid = pixel_grid()
    data, stat = random_cube(grid)
    write(tmp_path / "cube.fits", grid, data, stat)
    header = fits.getheader(tmp_path / "cube.fits", "DATA")
    keys = list(header)
    assert keys[keys.index("CRPIX1") :][:5] == ["CRPIX1", "CRVAL1", "CTYPE1", "CUNIT1", "CD1_1"]
    assert header["CTYPE1"] == "PIXEL"


@pytest.mark.golden
@pytest.mark.parametrize(("run", "sdp"), [("basic/out_default", False), ("multi/out_sdpCube", True)])
def test_golden_headers_and_sums(tmp_path, run, sdp):
    name, folder = run.split("/")
    golden = open_golden(golden_set(f"scipost_{name}") / folder / "DATACUBE_FINAL.fits")
    grid = grid_of(golden["DATA"].header)
    with CubeWriter(tmp_path / "cube.fits", primary(), grid, FLUX, "SYNTH", sdp=sdp) as cube:
        for k in range(grid.nz):
            cube.write_planes(k, golden["DATA"].data[k : k + 1], golden["STAT"].data[k : k + 1])
        cube.finish()
    with fits.open(tmp_path / "cube.fits") as hdus:
        for name in ("DATA", "STAT"):
            # with the default astrometry the C pipeline writes the spatial keywords in another order
            assert_same_cards(hdus[name].header, golden[name].header, order=not sdp)
            assert int(hdus[name].header["DATASUM"]) == int(golden[name].header["DATASUM"])
