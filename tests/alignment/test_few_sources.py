# SPDX-License-Identifier: BSD-3-Clause
"""One bright star, an almost empty field, a crowded one: right offsets are trusted, others are 0."""

import numpy as np
import pytest
from astropy.io import fits

from tests.alignment.conftest import exposures_of, random_stars, sky_error_arcsec

pytestmark = pytest.mark.law
ERRORS = [(0.0, 0.0), (0.8, -0.5), (-0.6, 0.3)]
SHIFTS = [(0.0, 0.0), (2.0, -1.0), (-1.5, 2.5)]


def trust(aligned, count=3):
    return [aligned.qc(f"TRUST{n}") for n in range(1, count + 1)]


@pytest.mark.parametrize("params", [{}, {"srcmin": 1, "srcmax": 10}, {"srcmin": 3, "threshold": 300.0}])
@pytest.mark.parametrize("stars", [[(4.0, -3.0, 1000.0)], [(4.0, -3.0, 1000.0), (-6.0, 7.0, 60.0)]])
def test_a_few_bright_stars_are_enough(align, stars, params):
    images = exposures_of(stars, ERRORS, shifts=SHIFTS)
    aligned = align(images, params)
    error = sky_error_arcsec(images, aligned.offsets())
    assert trust(aligned) == [True] * 3
    assert np.abs(error).max() < 0.01
    for n in (2, 3):
        assert np.abs(error[n - 1]).max() < 5 * aligned.qc(f"ERR DEC{n}")
        assert aligned.qc(f"ERR DEC{n}") < 0.02


def test_fewer_sources_than_wanted_are_told(align, caplog):
    align(exposures_of([(4.0, -3.0, 1000.0)], ERRORS, shifts=SHIFTS))
    told = [text for text in caplog.messages if "are wanted, 1 stand out of the noise" in text]
    assert len(told) == 3
    for number, text in enumerate(told, 1):
        assert f"{number:04d}.fits: " in text
        assert "(srcmin, srcmax)" in text
        assert "these are used" in text


def test_a_star_in_the_narrow_field_with_a_faint_companion(align):
    images = exposures_of(
        [(0.0, 0.0, 3e5), (0.2, 1.4, 3e3)],
        [(0, 0), (0.08, -0.05), (-0.06, 0.03)],
        mode="NFM",
        fwhm=3.0,
        noise=5.0,
    )
    aligned = align(images)
    assert trust(aligned) == [True] * 3
    assert np.abs(sky_error_arcsec(images, aligned.offsets())).max() < 1e-3


def test_changing_transparency_does_not_hide_the_star(align):
    images = exposures_of([(4.0, -3.0, 1000.0)], ERRORS, levels=(1.0, 0.7, 1.3))
    assert trust(align(images)) == [True] * 3


@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_unrelated_stars_are_never_trusted(align, count, seed):
    stars = [random_stars(10 * seed + n, count) for n in range(3)]
    images = exposures_of(stars, ERRORS)
    aligned = align(images)
    assert trust(aligned) == [False] * 3
    assert not aligned.offsets().any()


def test_a_brighter_star_without_a_match_speaks_against_a_single_match(align):
    one = [(4.0, -3.0, 300.0), (-6.0, -2.0, 2000.0)]
    images = exposures_of([one, [(4.3, -2.8, 300.0)]], ERRORS[:2])
    assert trust(align(images), 2) == [False, False]


def test_faint_peaks_are_not_looked_for_in_the_noise(align):
    images = exposures_of([(4.0, -3.0, 1000.0)], ERRORS)
    aligned = align(images)
    assert [len(aligned.table("SOURCE_LIST", n)) for n in range(3)] == [1, 1, 1]
    assert len(align(images, compat=True).table("SOURCE_LIST", 0)) >= 5


def test_a_crowded_field(align):
    images = exposures_of(random_stars(3, 700, faintest=10.0), ERRORS, shifts=SHIFTS)
    aligned = align(images)
    assert trust(aligned) == [True] * 3
    assert np.abs(sky_error_arcsec(images, aligned.offsets())).max() < 0.005


def test_a_bright_cosmic_ray_does_not_end_the_search(align):
    images = exposures_of(random_stars(4, 12, brightest=800.0), ERRORS)
    images[1].data[60, 70] = 5e4
    aligned = align(images, threshold=2000.0, step=10.0)
    assert trust(aligned) == [True] * 3
    assert np.abs(sky_error_arcsec(images, aligned.offsets())).max() < 0.02


def test_untrusted_exposures_are_not_in_the_preview_unless_asked_for(align):
    images = exposures_of([random_stars(1, 12), random_stars(1, 12), random_stars(9, 12)], ERRORS)
    images[2].data[:] += 1000.0
    aligned = align(images)
    assert trust(aligned) == [True, True, False]
    assert aligned.offsets()[2].tolist() == [0.0, 0.0]
    sky = np.nanmedian(fits.getdata(aligned.paths["PREVIEW_FOV"][0], 1))
    assert abs(sky) < 100.0
    kept = align(images, keep_untrusted=True)
    assert trust(kept) == [True, True, False]
    assert kept.offsets()[2].any()
    assert np.nanmedian(fits.getdata(kept.paths["PREVIEW_FOV"][0], 1)) > 900.0
    copied = align(images, compat=True)
    np.testing.assert_allclose(kept.offsets()[2], copied.offsets()[2], atol=1e-8)
