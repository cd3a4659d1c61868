# SPDX-License-Identifier: BSD-3-Clause
"""The truth of a simulated night with known light, and the measurements on products."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.ndimage import uniform_filter

from muse_core.simulate import night_scenes, night_truth
from muse_core.simulate.night import simulate_night
from muse_core.simulate.night_scenes import pixel_matrix, scenes_of_night, share_on_pixels
from muse_core.simulate.night_schedule import NightSetup
from muse_core.simulate.raw_instrument import RawSetup, lamp_spectrum
from muse_core.simulate.scene import Galaxy

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> tuple[Path, dict]:
    raw = RawSetup(nx=192, ny=64, ifus=(12, 13), cosmics=0, lambda_min=6200.0, lambda_max=6360.0)
    counts = (("STD", 1), ("ASTROMETRY", 1), ("OBJECT", 1), ("SKY", 1))
    setup = NightSetup(raw=raw, mode="WFM-NOAO-N", counts=counts, traps=False, scenes=scenes_of_night(raw))
    folder = tmp_path_factory.mktemp("night")
    simulate_night(folder, setup, masters=False)
    return folder, json.loads((folder / "truth.json").read_text())


def test_the_references_go_with_the_frames(night):
    folder, truth = night
    catalogue = fits.getdata(folder / "static" / "astrometry_reference.fits", 1)
    assert len(catalogue) >= 1 and {"RA", "DEC", "mag"} <= set(catalogue.dtype.names)
    star = fits.getdata(folder / "static" / "std_flux_table.fits", 1)
    assert np.interp(7000.0, star["lambda"], star["flux"]) == pytest.approx(2.5e-14, rel=1e-3)
    light = {}
    for path in (folder / "raw").glob("MUSE.*.fits"):
        with fits.open(path) as hdus:
            light[hdus[0].header["ESO DPR TYPE"]] = hdus[2].data.astype(float)
    assert set(light) == {"STD", "ASTROMETRY", "OBJECT", "SKY", "FLAT,LAMP,ILLUM"}
    # a bright star stands out of its field, which is dark elsewhere
    assert light["STD"].max() > 2 * light["SKY"].max()
    assert len(truth["stars"]) + len(truth["galaxies"]) >= 1


def test_a_perfect_solution_has_no_error(night, tmp_path):
    _, truth = night
    header = fits.Header()
    for (i, j), value in np.ndenumerate(pixel_matrix() / 3600.0):
        header[f"CD{i + 1}_{j + 1}"] = value
    fits.PrimaryHDU(header=header).writeto(tmp_path / "wcs.fits")
    scale, angle = night_truth.astrometry(tmp_path / "wcs.fits", truth)
    assert scale == pytest.approx((0, 0), abs=1e-12) and angle == pytest.approx((0, 0), abs=1e-9)


def write(path, header=None, **columns):
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name.rstrip("_"), "D", array=values) for name, values in columns.items()]
    )
    fits.HDUList([fits.PrimaryHDU(header=header), table]).writeto(path)
    return path


@pytest.mark.parametrize("with_lamp", [False, True])
def test_errors_of_a_response_are_found(night, tmp_path, with_lamp):
    _, truth = night
    lam = np.arange(6190.0, 6370.0, 1.25)
    curve = np.interp(lam, truth["response"]["lambda"], truth["response"]["value"]) + 0.3
    header = fits.Header()
    if with_lamp:
        header["HIERARCH ESO DRS MUSE FLUX FFCORR"] = True
        curve += 2.5 * np.log10(lamp_spectrum(lam))
    right = write(tmp_path / "right.fits", header, **{"lambda": lam, "response": curve})
    assert night_truth.response_error(right, truth) == pytest.approx((0, 0), abs=1e-9)
    tilt = curve + 0.01 * (lam - 6280.0) / 100.0
    low, high = night_truth.response_error(
        write(tmp_path / "tilt.fits", header, **{"lambda": lam, "response": tilt}), truth
    )
    assert low < -0.1 and high > 0.1


def test_a_shift_of_the_sky_lines_is_found(night, tmp_path):
    _, truth = night
    lam = np.arange(6190.0, 6370.0, 1.25)
    wave, flux = (np.array(truth["sky_lines"][name]) for name in ("lambda", "flux"))
    near = (wave > 6100) & (wave < 6450)
    data = 45.0 + (flux[near] * np.exp(-0.5 * ((lam[:, None] - wave[near] - 0.05) / 1.1) ** 2)).sum(axis=1)
    path = write(tmp_path / "sky.fits", **{"lambda": lam, "data": data})
    mean, rms = night_truth.sky_lines(path, truth)
    assert mean == pytest.approx(0.05, abs=2e-3) and rms == pytest.approx(0.05, abs=3e-3)


def test_light_of_a_smeared_star_is_measured_right():
    fine, star = 10, {"xi": 0.03, "eta": -0.05, "flux": 1.0}
    y, x = (np.indices((45 * fine, 45 * fine)) + 0.5) / fine * 0.2 - 4.5
    share = share_on_pixels(star, x.ravel(), y.ravel(), np.array([7000.0])).reshape(x.shape)
    smeared = uniform_filter(share, 16)  # 0.32 arcsec
    image, xi, eta = (one.reshape(45, fine, 45, fine).mean(axis=(1, 3)).ravel() for one in (smeared, x, y))
    own = share_on_pixels(star, xi, eta, np.array([7000.0]))[0]
    r = np.hypot(xi - star["xi"], eta - star["eta"])
    near = r < night_truth.RING[1]
    found = night_truth._flux_over((300.0 * image + 40.0)[near], 300.0 * own[near], r[near])
    assert found == pytest.approx(1, abs=0.006)


def test_a_galaxy_is_as_flat_as_it_was_drawn():
    """Along its axes a galaxy falls to half where its size and the seeing, in squares, say."""
    galaxy = asdict(Galaxy(0.3, -0.2, 1.0, size=1.2, axis_ratio=0.5, angle=30.0))
    north_over_east = np.deg2rad(30.0)
    along = np.array([np.sin(north_over_east), np.cos(north_over_east)])
    across = np.array([along[1], -along[0]])
    major, minor = (0.5 * np.hypot(size, night_scenes.SEEING) for size in (1.2, 0.6))
    xi, eta = np.array([[0.3, -0.2]] * 3).T + np.array([[0, 0], major * along, minor * across]).T
    peak, one, other = share_on_pixels(galaxy, xi, eta, np.array([7000.0]))[0]
    assert [one / peak, other / peak] == pytest.approx([0.5, 0.5], rel=1e-6)
    y, x = np.indices((160, 160)) * 0.2 - 16.0
    whole = share_on_pixels(galaxy, x.ravel(), y.ravel(), np.array([7000.0])).sum()
    assert whole == pytest.approx(1, abs=0.005)  # less what lies beyond eight widths
