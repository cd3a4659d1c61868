# SPDX-License-Identifier: BSD-3-Clause
"""Sky line lists: files, OH transitions, choice of lines, products."""

import math

import numpy as np
import pytest
from astropy.io import fits
from postproc_golden import golden

from muse_core.framework import InputError
from muse_core.postproc.sky import products as sky_products
from muse_core.postproc.sky.line_list import SkyLines, load_sky_continuum, load_sky_lines, oh_fluxes
from muse_core.postproc.sky.spectrum import SkySpectrum
from muse_core.postproc.white_light.sky_mask import fit_sky_mask

pytestmark = pytest.mark.unit


def lines_hdu(lam=(5577.3, 6300.3, 6363.8), flux=(10.0, 5.0, 2.0), group=(4, 2, 2), without=(), name="LINES"):
    n = len(lam)
    columns = {
        "name": ("20A", [f"line {i}" for i in range(n)]),
        "group": ("J", group),
        "lambda": ("D", lam),
        "flux": ("D", flux),
        "dq": ("J", [1] * n),
    }
    return fits.BinTableHDU.from_columns(
        [fits.Column(k, f, array=np.array(a)) for k, (f, a) in columns.items() if k not in without], name=name
    )


def oh_hdu():
    columns = {
        "name": ("20A", ["a", "b", "c"]),
        "lambda": ("D", [6500.0, 6510.0, 7000.0]),
        "v_u": ("J", [7, 5, 7]),
        "v_l": ("J", [1, 1, 1]),
        "nu": ("J", [0, 0, 0]),
        "E_u": ("D", [3e-21, 2e-21, 4e-21]),
        "J_u": ("D", [1.5, 2.5, 0.5]),
        "A": ("D", [10.0, 20.0, 30.0]),
    }
    return fits.BinTableHDU.from_columns(
        [fits.Column(k, f, array=np.array(a)) for k, (f, a) in columns.items()], name="OH_TRANSITIONS"
    )


def write(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def test_both_extensions(tmp_path):
    lines = load_sky_lines(write(tmp_path / "l.fits", lines_hdu(), oh_hdu()))
    assert lines.name == ("line 0", "line 1", "line 2", "a", "b", "c")
    assert lines.group.tolist() == [4, 2, 2, 5, 6, 5]
    assert lines.dq.tolist() == [1, 1, 1, 0, 0, 0]
    g = [4.0 * math.exp(-3e-21 / (1.3806504e-23 * 200)), 2.0 * math.exp(-4e-21 / (1.3806504e-23 * 200))]
    assert lines.flux[3] == pytest.approx(7.94492e10 * 10 / 6500 * g[0] / sum(g), rel=1e-13)
    assert lines.flux[4] == pytest.approx(7.94492e10 * 20 / 6510, rel=1e-13)
    assert load_sky_lines(write(tmp_path / "o.fits", oh_hdu())).group.tolist() == [0, 1, 0]


def test_populations_of_a_level_add_up():
    rng = np.random.default_rng(1)
    lam, rate = rng.uniform(5000, 9000, 20), np.full(20, 3.0)
    flux = oh_fluxes(
        lam, np.repeat([3, 8], 10), rng.uniform(1, 9, 20) * 1e-21, rng.integers(1, 9, 20) - 0.5, rate
    )
    assert (flux * lam)[:10].sum() == pytest.approx(7.94492e10 * 3.0, rel=1e-12)


def test_lines_near_a_spectrum_are_kept_with_new_group_numbers():
    lam = np.array([5995.1, 5994.9, 6050.0, 6105.0, 6105.1, 6020.0])
    lines = SkyLines(
        tuple("abcdef"), np.array([9, 9, 4, 4, 1, 9], np.int32), lam, np.ones(6), np.zeros(6, np.int32)
    )
    near = lines.in_range(6000.0, 6100.0)
    assert near.name == ("a", "c", "d", "f")
    assert near.group.tolist() == [0, 1, 1, 0]


def test_lines_in_a_gap_of_the_spectrum_are_not_seen():
    lam = np.array([5577.3, 5889.95, 5895.9, 5807.0, 6300.3])
    lines = SkyLines(
        tuple("abcde"), np.array([5, 6, 6, 7, 5], np.int32), lam, np.ones(5), np.zeros(5, np.int32)
    )
    bins = np.concatenate([np.arange(5500.0, 5805.0, 1.25), np.arange(5967.0, 6400.0, 1.25)])
    seen = lines.beside_bins(bins)
    assert seen.name == ("a", "d", "e") and seen.group.tolist() == [0, 1, 0]
    assert lines.beside_bins(np.arange(5500.0, 6400.0, 1.25)).name == lines.name


@pytest.mark.parametrize(
    ("hdus", "message"),
    [
        (lambda: (lines_hdu(name="SOMETHING"),), "an extension LINES or OH_TRANSITIONS"),
        (lambda: (lines_hdu(without=("flux",)),), "columns flux"),
        (lambda: (lines_hdu(flux=(1.0, np.nan, 2.0)),), "found nan in row 2"),
        (lambda: (lines_hdu(flux=(1.0, -3.0, 2.0)),), "found -3.0 in row 2"),
        (lambda: (lines_hdu(lam=(5000.0, np.inf, 6000.0)),), "column lambda"),
        (lambda: (lines_hdu(group=(0, 1, -7)),), "numbers >= 0, found -7 in row 3"),
        (lambda: (lines_hdu(lam=(), flux=(), group=()),), "at least one line"),
        (
            lambda: (fits.ImageHDU(np.zeros((2, 2)), name="LINES"),),
            "extension LINES: expected a binary table",
        ),
    ],
)
def test_bad_line_lists(tmp_path, hdus, message):
    with pytest.raises(InputError, match=message):
        load_sky_lines(write(tmp_path / "bad.fits", *hdus()))


def test_a_file_that_is_no_table(tmp_path):
    (tmp_path / "x.fits").write_bytes(b"nothing")
    with pytest.raises(InputError, match="a FITS table"):
        load_sky_lines(tmp_path / "x.fits")
    with pytest.raises(InputError, match="a FITS table"):
        load_sky_continuum(tmp_path / "x.fits")


def continuum_hdu(lam, flux, name="CONTINUUM"):
    return fits.BinTableHDU.from_columns(
        [fits.Column("lambda", "D", array=np.array(lam)), fits.Column("flux", "D", array=np.array(flux))],
        name=name,
    )


def test_continuum(tmp_path):
    lam, flux = load_sky_continuum(write(tmp_path / "c.fits", continuum_hdu([1.0, 2.0], [3.0, -4.0])))
    assert (lam.tolist(), flux.tolist()) == ([1.0, 2.0], [3.0, -4.0])
    assert load_sky_continuum(write(tmp_path / "d.fits", continuum_hdu([1.0], [2.0], "OTHER"))) is None
    with pytest.raises(InputError, match="increasing wavelengths"):
        load_sky_continuum(write(tmp_path / "e.fits", continuum_hdu([2.0, 1.0], [3.0, 4.0])))
    with pytest.raises(InputError, match="column flux"):
        load_sky_continuum(write(tmp_path / "f.fits", continuum_hdu([1.0, 2.0], [3.0, np.nan])))


# ------------------------------------------------------------ products
def card_text(header):
    skip = ("CHECKSUM", "DATASUM", "COMMENT", "DATE")
    return {key: header[key] for key in header if key not in skip}


def assert_same_extension(ours, peer):
    theirs = card_text(peer.header)
    mine = card_text(ours.header)
    assert {k: v for k, v in theirs.items() if mine.get(k) != v} == {}


@pytest.mark.golden
def test_products_look_like_those_of_the_c_pipeline():
    folder = golden("sky2", "out_cube")
    with fits.open(folder / "SKY_IMAGE_0001.fits") as peer:
        values = np.where(peer["DQ"].data == 0, peer["DATA"].data, np.nan).astype(np.float32)
        corner = peer["DATA"].header["CRVAL1"], peer["DATA"].header["CRVAL2"]
        hdus, _ = sky_products.sky_image(values, *corner, "10**(-20)*erg/s/cm**2/Angstrom", 2.989247)
        for i in (1, 2):
            assert_same_extension(hdus[i], peer[i])
            np.testing.assert_array_equal(hdus[i].data, peer[i].data)
        for key in ("ESO DRS MUSE FILTER NAME", "ESO DRS MUSE FILTER FRACTION"):
            assert hdus[0].header[key] == peer[0].header[key]
    with fits.open(folder / "SKY_MASK_0001.fits") as peer:
        mask = fit_sky_mask(values, 0.1, 0.05, x_low=corner[0], y_low=corner[1])
        hdus, qc = sky_products.sky_mask(mask)
        np.testing.assert_array_equal(hdus[0].data, peer[0].data)
        for key, value, _ in qc:
            assert value == pytest.approx(peer[0].header[key], rel=1e-12)
        for key in ("CTYPE1", "CUNIT2", "CD1_1", "CRVAL1", "CRPIX2"):
            assert hdus[0].header[key] == peer[0].header[key]
    with fits.open(folder / "SKY_SPECTRUM_0001.fits") as peer:
        columns = [np.array(peer[1].data[key], float) for key in ("lambda", "data", "stat")]
        unit = "10**(-20)*erg/s/cm**2/Angstrom"
        hdus, _ = sky_products.sky_spectrum(SkySpectrum(*columns, 0.3125, 1), unit, f"({unit})**2")
        assert_same_extension(hdus[1], peer[1])
        assert hdus[0].header["BITPIX"] == peer[0].header["BITPIX"] == 16
    with fits.open(folder / "SKY_LINES_0001.fits") as peer:
        lines = load_sky_lines(folder / "SKY_LINES_0001.fits")
        hdus, qc = sky_products.sky_lines(lines.take(np.arange(len(lines))[::-1]).sorted_by_flux())
        assert_same_extension(hdus[1], peer[1])
        assert len(qc) == 12
        for key, value, _ in qc:
            assert peer[0].header[key] == (pytest.approx(value) if isinstance(value, float) else value)
    with fits.open(folder / "SKY_CONTINUUM_0001.fits") as peer:
        hdus, qc = sky_products.sky_continuum(*load_sky_continuum(folder / "SKY_CONTINUUM_0001.fits"))
        assert_same_extension(hdus[1], peer[1])
        for key, value, _ in qc:
            assert peer[0].header[key] == pytest.approx(value, rel=1e-12)
