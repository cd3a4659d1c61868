# SPDX-License-Identifier: BSD-3-Clause
"""Rotations that the headers do not tell: found by the pattern of the sources, the offsets are right."""

import numpy as np
import pytest

from muse_core.alignment.offsets.patterns import PointPattern, match_patterns
from tests.alignment.conftest import exposures_of, random_stars, sky_error_arcsec

pytestmark = pytest.mark.law
ERRORS = [(0.0, 0.0), (2.0, -1.5), (-1.6, 1.3)]


@pytest.mark.parametrize("count", [7, 25, 300])
@pytest.mark.parametrize("turns", [(0.0, 3.0, -6.0), (0.0, 15.0, 0.0), (0.0, 0.2, -0.1)])
def test_offset_and_rotation_are_right(align, caplog, count, turns):
    images = exposures_of(random_stars(5, count), ERRORS, turns=turns, shifts=[(0, 0), (1, 2), (-2, 1)])
    aligned = align(images, rotation=True)
    assert aligned.qc("UNTRUSTED") == 0
    assert np.abs(sky_error_arcsec(images, aligned.offsets())).max() < 0.02
    column = aligned.table()["ROT_OFFSET"]  # header minus truth, as the other offsets
    for n in (1, 2):
        wanted = turns[n] - turns[0]
        assert aligned.qc(f"ROT{n + 1}") == pytest.approx(wanted, abs=0.05)
        assert column[n] == pytest.approx(-wanted, abs=0.05)
    assert column[0] == 0.0
    assert any("rotation" in record.getMessage() for record in caplog.records)


def test_the_column_is_written_only_on_request(align):
    images = exposures_of(random_stars(5, 20), ERRORS, turns=(0.0, 3.0))
    assert "ROT_OFFSET" not in align(images).table().columns.names
    with pytest.raises(KeyError):
        align(images, compat=True).table()["ROT_OFFSET"]


def test_exposures_without_rotation_get_none(align):
    column = align(exposures_of(random_stars(5, 20), ERRORS), rotation=True).table()["ROT_OFFSET"]
    assert column.tolist() == [0.0, 0.0, 0.0]


def test_turned_exposures_lie_on_each_other_in_the_preview(align):
    from astropy.io import fits

    images = exposures_of(random_stars(6, 15), ERRORS[:2], turns=(0.0, 5.0))
    turned = fits.getdata(align(images).paths["PREVIEW_FOV"][0], 1)
    straight = exposures_of(random_stars(6, 15), ERRORS[:2])
    plain = fits.getdata(align(straight).paths["PREVIEW_FOV"][0], 1)
    assert np.nanmax(turned) > 0.9 * np.nanmax(plain)


def test_near_a_pole(align):
    images = exposures_of(random_stars(5, 20), ERRORS, turns=(0.0, 4.0, -2.0), centre=(150.0, 80.0))
    aligned = align(images)
    assert aligned.qc("UNTRUSTED") == 0
    assert np.abs(sky_error_arcsec(images, aligned.offsets())).max() < 0.02


def pattern(rng, count, turn=0.0, shift=(0.0, 0.0), pivot=(2.0, -1.0)):
    """Two patterns of which the second has to be turned and shifted to lie on the first."""
    x, y = rng.uniform(-30.0, 30.0, (2, count))
    px, py = x - pivot[0] - shift[0], y - pivot[1] - shift[1]
    cosine, sine = np.cos(turn), np.sin(turn)
    brightness = rng.uniform(1.0, 9.0, count)
    turned = PointPattern(
        pivot[0] + cosine * px - sine * py, pivot[1] + sine * px + cosine * py, brightness, pivot
    )
    return PointPattern(x, y, brightness, (0.0, 0.0)), turned


@pytest.mark.parametrize("count", [2, 3, 10, 60])
@pytest.mark.parametrize("turn", [0.0, 0.01, -0.3])
def test_patterns_are_matched(count, turn):
    one, other = pattern(np.random.default_rng(count), count, turn, (4.0, -3.0))
    match = match_patterns(one, other, tolerance=0.3, largest_turn=0.35, largest_shift=30.0)
    assert match.matches == min(count, 40)
    assert match.turn == pytest.approx(turn, abs=1e-9)
    assert (match.dx, match.dy) == pytest.approx((4.0, -3.0), abs=1e-6)


def test_limits_of_the_search():
    one, other = pattern(np.random.default_rng(1), 12, 0.3, (4.0, -3.0))
    found = match_patterns(one, other, tolerance=0.3, largest_turn=0.2, largest_shift=30.0)
    assert found.matches < 5
    assert abs(found.turn) <= 0.2
    found = match_patterns(one, other, tolerance=0.3, largest_turn=0.35, largest_shift=2.0)
    assert found is None or np.hypot(found.dx, found.dy) < 3.0
    nothing = PointPattern(np.zeros(0), np.zeros(0), np.zeros(0), (0.0, 0.0))
    assert match_patterns(nothing, other, tolerance=0.3, largest_turn=0.3, largest_shift=30.0) is None


def test_the_bright_source_decides_between_single_matches():
    one = PointPattern(np.array([0.0, 10.0]), np.zeros(2), np.array([1000.0, 3.0]), (0.0, 0.0))
    other = PointPattern(np.array([1.0, 14.0]), np.zeros(2), np.array([900.0, 4.0]), (0.0, 0.0))
    match = match_patterns(one, other, tolerance=0.3, largest_turn=0.0, largest_shift=30.0)
    assert (match.matches, match.dx) == (1, -1.0)
