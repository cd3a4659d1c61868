# SPDX-License-Identifier: BSD-3-Clause
"""Offsets of fields near a celestial pole against the truth of the simulation."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from muse_core.alignment.sphere import separation
from muse_core.data.tangent_plane import TanWcs
from muse_core.simulate.fields import true_offsets
from tests.alignment.conftest import sky_error_arcsec, small_fields

PLAN = {"shape": (150, 160), "dither_arcsec": 1.0, "error_arcsec": 3.0, "stars": 30}


@pytest.mark.parametrize("ra", [150.1, 0.0004, 359.999])
@pytest.mark.parametrize("dec", [-60.0, 60.01, 75.0, -85.0, 88.0, -88.0, 89.5, 89.9])
def test_offsets_are_right_at_all_declinations(align, ra, dec):
    images = small_fields(centre=(ra, dec), **PLAN)
    run = align(images)
    assert np.abs(true_offsets(images)[:, 0] * np.cos(np.radians(dec))).max() > 5e-4  # two arcsec
    assert np.abs(sky_error_arcsec(images, run.offsets())).max() < 0.003
    assert run.qc("UNTRUSTED") == 0


def test_the_c_recipe_fails_there(align):
    """With compat the search in degrees of coordinate, as in 2.8.7: arcseconds off."""
    images = small_fields(centre=(150.1, 88.0), **PLAN)
    error = sky_error_arcsec(images, align(images, compat=True).offsets())
    assert np.abs(error).max() > 1.0


def test_rotated_fields_near_a_pole(align):
    images = small_fields(centre=(10.0, -89.0), angles_deg=(0.0, 90.0, 213.0), **PLAN)
    assert np.abs(sky_error_arcsec(images, align(images).offsets())).max() < 0.003


def test_what_the_offsets_mean_near_a_pole(align):
    """Headers whose reference point is reduced by the offset put every star at its true place."""
    images = small_fields(centre=(40.0, 89.5), **PLAN)
    run = align(images)
    for image, offset, path in zip(images, run.offsets(), run.paths["SOURCE_LIST"], strict=True):
        found = fits.getdata(path, 1)
        moved = image.wcs.moved(-offset[0], -offset[1])
        assert np.allclose(moved.sky(found["X"] + 1, found["Y"] + 1), [found["RA_CORR"], found["DEC_CORR"]])
        true = image.wcs.moved(-image.error[0], -image.error[1])
        for row in found:
            k = np.argmin(np.hypot(image.x - row["X"], image.y - row["Y"]))
            place = [float(v) for v in true.sky(image.x[k] + 1, image.y[k] + 1)]
            assert separation(row["RA_CORR"], row["DEC_CORR"], *place) * 3600 < 0.05
    with fits.open(run.paths["PREVIEW_FOV"][0]) as hdus:
        assert np.isfinite(hdus[1].data).sum() >= np.isfinite(images[0].data).sum()


def test_report_near_a_pole(align):
    align(small_fields(centre=(40.0, 89.5), exposures=2), report=True)
    assert "sound" in (align.out / "muse_exp_align_report.html").read_text()


def test_a_pole_in_the_field(align):
    images = small_fields(centre=(40.0, 89.998), **{**PLAN, "error_arcsec": 0.3})
    run = align(images)
    for image, offset in zip(images, run.offsets(), strict=True):
        ours, true = (image.wcs.moved(-a, -b).crval for a, b in (offset, image.error))
        assert separation(*ours, *true) * 3600 < 0.01


def test_stars_of_one_radius_only(align):
    """A single radius: the histogram alone, good to its bins, in arcsec on the sky."""
    images = small_fields(centre=(40.0, -88.0), **PLAN)
    error = sky_error_arcsec(images, align(images, {"rsearch": "20", "nbins": 100}).offsets())
    assert 0.003 < np.abs(error).max() < 0.4


def test_an_exposure_without_matches_keeps_its_header(align):
    images = small_fields(centre=(40.0, -88.0), **PLAN)
    stranger = replace(images[2], wcs=images[2].wcs.moved(0.0, 0.1))
    run = align([*images[:2], stranger])
    assert run.offsets()[2].tolist() == [0.0, 0.0]
    assert run.qc("UNTRUSTED") == 1


def test_distance_of_positions():
    assert separation(10.0, 89.0, 190.0, 89.0) == pytest.approx(2.0)
    assert separation(359.9, 0.0, 0.1, 0.0) == pytest.approx(0.2)
    wcs = TanWcs((1.0, 1.0), (20.0, -89.5), ((-5e-5, 0.0), (0.0, 5e-5)))
    assert separation(*(float(v) for v in wcs.sky(101.0, 1.0)), 20.0, -89.5) == pytest.approx(5e-3)
