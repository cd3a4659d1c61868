# SPDX-License-Identifier: BSD-3-Clause
"""Scenes from real observations, the calibrations that are shipped, and the picture."""

import importlib.util

import numpy as np
import pytest
from astropy.io import fits

from muse_core.calib import (
    CalibrationNotFoundError,
    calibration_folder,
    find_calibration,
    scipost_calibrations,
)
from muse_core.framework.errors import InputError
from muse_core.report import preview
from muse_core.simulate import realscenes
from muse_core.simulate.exposure import Detector
from muse_core.simulate.scene import Scene
from muse_core.simulate.scipost import simulate_scipost
from muse_core.simulate.static_set import filter_curves, nightglow_lines, write_static_set, zero_points

pytestmark = pytest.mark.unit


def write_cube(path, data, **cards):
    hdu = fits.ImageHDU(data, name="DATA")
    hdu.header.update({"CRVAL1": 10.0, "CRVAL2": -20.0, "CD1_1": -0.2 / 3600, "CD2_2": 0.2 / 3600, **cards})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def test_any_cube_becomes_a_scene(tmp_path):
    data = np.arange(10 * 6 * 8, dtype=np.float32).reshape(10, 6, 8)
    data[3, 2, 2] = np.nan
    path = write_cube(tmp_path / "c.fits", data, CRVAL3=5000.0, CRPIX3=1.0, CD3_3=1.25)
    scene = realscenes.load_scene_cube(path, centre=(1.0, 2.0), lambda_range=(5002.5, 5006.0), scale=3.0)
    np.testing.assert_allclose(scene.grid, (1.0 + 0.7, -0.2, 2.0 - 0.5, 0.2, 5001.25, 1.25))
    assert scene.data.shape == (6, 6, 8)
    assert scene.data[2, 2, 2] == 0.0
    np.testing.assert_array_equal(scene.data[0], data[1])
    image = write_cube(tmp_path / "i.fits", data[0])
    assert realscenes.load_scene_cube(image).data.shape == (1, 6, 8)
    with pytest.raises(realscenes.SceneDataError, match="covers 5000..5011 A"):
        realscenes.load_scene_cube(path, lambda_range=(7000.0, 7100.0))


def test_scene_cube_reaches_the_detector_with_its_flux(tmp_path):
    """A flat patch of light gives rows of that surface brightness, in the right place (east is left)."""
    data = np.zeros((40, 40), np.float32)
    data[10:30, 30:] = 100.0  # the last columns lie in the west: the x axis of the sky runs against RA
    path = write_cube(tmp_path / "patch.fits", data)
    sim = simulate_scipost(
        tmp_path / "sim", scene=Scene(cubes=(realscenes.load_scene_cube(path),)), sky=False,
        ifus=(12,), slices=48, lambda_range=(6998.0, 7003.0), astrometry=False,
        flat_flux=False, telluric=False,
        detector=Detector(noise=False, cosmic_rate=0, bad_fraction=0),
    )  # fmt: skip
    with fits.open(sim.paths("PIXTABLE_OBJECT")[0]) as hdus:
        x, value = hdus["xpos"].data.ravel(), hdus["data"].data.ravel()
        header = hdus[0].header
    x0 = sum(header[f"ESO DRS MUSE PIXTABLE LIMITS X {e}"] for e in ("LOW", "HIGH")) / 2
    lit = value > 0.5 * value.max()
    assert (x[lit] - x0).min() == pytest.approx(10, abs=0.6)  # west: xpos above the middle
    assert (x[lit] - x0).max() == pytest.approx(19.5, abs=1.1)
    inner = (x > x0 + 11) & (x < x0 + 18) & lit
    assert np.ptp(value[inner]) / value[inner].mean() < 0.01


def test_real_fields():
    cube = realscenes.abell478((7095.0, 7325.0))
    spectrum = cube.data[:, 15:25, 17:27].sum(axis=(1, 2))
    wave = cube.grid[4] + cube.grid[5] * np.arange(spectrum.size)
    line = np.abs(wave - 7148) < 5
    assert spectrum[line].mean() > 3 * np.median(spectrum)  # [N II] of the nebula at z = 0.088
    frame = np.concatenate([cube.data[:, 0].ravel(), cube.data[:, :, 0].ravel()])
    assert np.abs(frame).max() < 0.05 * cube.data.max()
    field = realscenes.hdfs_field((7095.0, 7325.0), size=(100, 90))
    assert field.data.shape == (33, 90, 100)
    assert field.data.min() >= 0
    assert realscenes.load_scene_cube(realscenes.mpdaf_data(realscenes.SMALL_CUBE)).data.shape == (
        1595,
        10,
        20,
    )
    demo = realscenes.demo_scene()
    assert len(demo.cubes) == 2


def test_missing_scene_data_are_explained(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(realscenes.SceneDataError, match="pip install mpdaf"):
        realscenes.mpdaf_data(realscenes.ABELL478)


def test_shipped_calibrations_are_what_the_code_writes(tmp_path):
    for made in write_static_set(tmp_path):
        shipped = calibration_folder() / made.relative_to(tmp_path)
        with fits.open(made) as new, fits.open(shipped) as old:
            assert [h.name for h in new] == [h.name for h in old]
            for a, b in zip(new, old, strict=True):
                assert a.header.tostring() == b.header.tostring()
                if a.data is not None:
                    for column in a.columns.names:
                        if a.data[column].dtype.kind in "fi":
                            np.testing.assert_allclose(a.data[column], b.data[column], rtol=1e-10, atol=1e-30)
                        else:
                            assert list(a.data[column]) == list(b.data[column])


def test_filters_and_zero_points():
    curves = filter_curves()
    points = zero_points(curves)
    for name, (wave, throughput) in curves.items():
        assert (np.diff(wave) > 0).all()
        assert 0 <= throughput.min() and throughput.max() <= 1
        vega, ab = points[name]
        assert abs(vega - ab) < 0.6
        # a source of 3631 Jy at all wavelengths has AB magnitude 0 in every filter image
        flux = np.sum(throughput * 3631e-23 * 2.99792458e18 / wave**2 / 1e-20) / np.sum(throughput)
        assert ab - 2.5 * np.log10(flux) == pytest.approx(0.0, abs=0.003)


def test_sky_lines_are_those_measured_over_paranal():
    lines = nightglow_lines()
    published = {  # Osterbrock et al. (1996): another telescope, blends of the two components
        "OH 8-3 P11(2.5": 7340.885, "OH 6-2 P11(1.5": 8399.170, "OH 6-2 P11(2.5": 8430.174,
        "OH 9-4 P11(2.5": 7821.503, "OH 7-3 Q11(1.5": 8827.096, "O I 5577": 5577.338, "O I 6300": 6300.304,
    }  # fmt: skip
    for name, wave in published.items():
        near = np.abs(lines.wavelength - wave) < 0.6
        assert near.any(), name
        mean = np.average(lines.wavelength[near], weights=lines.flux[near])
        assert mean == pytest.approx(wave, abs=0.15), name
    assert (np.diff(lines.wavelength) >= 0).all() and lines.wavelength[0] > 4550 and (lines.flux > 0).all()
    doublet = lines.flux[[n in ("O I 6300", "O I 6364") for n in lines.name]]
    assert doublet[0] / doublet[1] == pytest.approx(3.0, rel=0.1)  # ratio of the transition probabilities


def test_what_is_only_for_simulations_is_not_given_to_real_data():
    assert find_calibration("SKY_LINES").parent.name == "static"
    assert find_calibration("SKY_LINES", simulated=True).parent.name == "simulated"
    for path in (calibration_folder() / "simulated").glob("*.fits"):
        assert fits.getheader(path)["SIMULATE"] is True, path
    for path in (calibration_folder() / "static").glob("*.fits"):
        header = fits.getheader(path)
        assert (
            "SIMULATE" not in header and header["LICENSE"] and str(header["HISTORY"]).startswith("Source: ")
        )


def test_finding_calibrations(monkeypatch, tmp_path):
    assert find_calibration("SKY_LINES").is_file()
    assert find_calibration("ASTROMETRY_WCS", "NFM-AO-N", simulated=True).name.endswith("nfm.fits")
    tags = [t for _, t in scipost_calibrations("WFM-AO-N", simulated=True)]
    assert "RAMAN_LINES" in tags and "STD_RESPONSE" in tags
    assert "RAMAN_LINES" not in [t for _, t in scipost_calibrations()]
    with pytest.raises(CalibrationNotFoundError, match="no STD_RESPONSE"):
        find_calibration("STD_RESPONSE")
    with pytest.raises(CalibrationNotFoundError, match="MUSE_CALIB_DB"):
        find_calibration("GEOMETRY_TABLE")


def test_the_folder_of_the_environment_comes_before_ours(monkeypatch, tmp_path):
    own = tmp_path / "mine" / "skylines.fits"
    own.parent.mkdir()
    own.write_bytes((calibration_folder() / "static" / "sky_lines.fits").read_bytes())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("MUSE_CALIB_DB", str(tmp_path / "mine"))
    assert find_calibration("SKY_LINES") == own
    assert find_calibration("EXTINCT_TABLE").is_relative_to(calibration_folder())
    monkeypatch.setenv("MUSE_CALIB_DB", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="Check --calib and MUSE_CALIB_DB"):
        find_calibration("SKY_LINES")


def product_files(folder, rng):
    """Small stand-ins for the products of muse_scipost."""
    yy, xx = np.mgrid[:40, :50]
    star = 300 * np.exp(-0.5 * ((xx - 30) ** 2 + (yy - 18) ** 2) / 2.0)
    data = (rng.normal(0, 1, (20, 40, 50)) + star).astype(np.float32)
    data[:, :2] = np.nan
    header = {"CRVAL3": 7000.0, "CD3_3": 1.25, "CRPIX3": 1.0}
    cube = fits.ImageHDU(data, name="DATA")
    cube.header.update({**header, "CD2_2": 0.2 / 3600, "CTYPE3": "AWAV"})
    stat = fits.ImageHDU(np.ones_like(data), name="STAT")
    fits.HDUList([fits.PrimaryHDU(), cube, stat]).writeto(folder / "cube.fits")
    for k, name in enumerate(("white", "R", "G", "B")):
        image = fits.ImageHDU(np.where(yy < 2, np.nan, data.mean(axis=0)).astype(np.float32), name="DATA")
        image.header["CD2_2"] = 0.2 / 3600
        primary = fits.PrimaryHDU()
        primary.header["HIERARCH ESO DRS MUSE FILTER NAME"] = name
        fits.HDUList([primary, image]).writeto(folder / f"image{k}.fits")
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("lambda", "D", array=7000 + 0.3 * np.arange(80)),
            fits.Column("data", "D", array=np.ones(80)),
        ]
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "sky.fits")


def test_picture(tmp_path):
    product_files(tmp_path, np.random.default_rng(2))
    assert preview.brightest_object(preview.read_field_image(tmp_path / "image0.fits").values) == (30, 18)
    wave, flux, error = preview.aperture_spectrum(tmp_path / "cube.fits", (30, 18), 5.0)
    assert wave[4] == pytest.approx(7005.0)
    assert flux.mean() == pytest.approx(300 * 2 * np.pi * 2.0, rel=0.02)
    assert error[0] == pytest.approx(np.sqrt(81), rel=0.02)
    rgb = preview.colour_composite(
        *(preview.read_field_image(tmp_path / f"image{k}.fits").values for k in (1, 2, 3))
    )
    assert rgb.shape == (40, 50, 3)
    assert rgb.min() >= 0 and rgb.max() <= 1
    np.testing.assert_allclose(rgb[18, 30], rgb[18, 30, 0], atol=0.02)  # equal bands give grey
    full = preview.make_preview(
        tmp_path / "a.png", cube=tmp_path / "cube.fits", white=tmp_path / "image0.fits",
        bands=[tmp_path / f"image{k}.fits" for k in (1, 2, 3)], sky_spectrum=tmp_path / "sky.fits",
    )  # fmt: skip
    plain = preview.make_preview(
        tmp_path / "b.png", cube=tmp_path / "cube.fits", white=tmp_path / "image0.fits"
    )
    assert full.read_bytes()[:4] == b"\x89PNG"
    assert full.stat().st_size > plain.stat().st_size > 20_000
    assert not list(tmp_path.glob(".*"))


def test_picture_of_an_empty_cube_does_not_fail(tmp_path):
    product_files(tmp_path, np.random.default_rng(2))
    for name in ("cube.fits", "image0.fits"):
        with fits.open(tmp_path / name, mode="update") as hdus:
            hdus["DATA"].data[:] = np.nan
    assert preview.make_preview(
        tmp_path / "a.png", cube=tmp_path / "cube.fits", white=tmp_path / "image0.fits"
    ).is_file()
