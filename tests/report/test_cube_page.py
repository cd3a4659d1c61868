# SPDX-License-Identifier: BSD-3-Clause
"""The page of a cube finds what was put into it: objects, noise, lines of the sky, holes, cosmic rays."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework.record import RunRecord
from muse_core.report.comparison import compare_files
from muse_core.report.cube import page_of_files
from muse_core.report.cube_numbers import follow_star, measure_cube
from muse_core.report.page import Picture
from muse_core.report.preview import brightest_objects
from tests.report.conftest import NX, NY, SEEING, STARS

pytestmark = pytest.mark.unit


def test_numbers_of_the_background(cube):
    numbers = measure_cube(cube)
    assert numbers.chi == pytest.approx(1.0, abs=0.03)
    assert np.flatnonzero(numbers.on_lines).tolist() == [60, 61, 62, 63]
    inside = numbers.ripple[10:, 10:]
    assert np.nanmedian(inside) == pytest.approx(1.0, abs=0.03)  # 116 planes each, 2000 spaxels
    assert np.isnan(numbers.ripple[:8, :8]).all()


def test_objects_are_found_and_followed(cube):
    numbers = measure_cube(cube)
    places = brightest_objects(numbers.white, 4, 10)
    assert len(places) == 2
    for place, (x, y, _) in zip(places, STARS, strict=True):
        assert np.hypot(place[0] - x, place[1] - y) < 1.0
        star = follow_star(cube, numbers, place)
        assert np.median(star.fwhm) == pytest.approx(0.2 * SEEING, rel=0.02)
        assert np.abs([star.dx, star.dy]).max() < 0.02


def test_what_the_page_shows(cube):
    hits = np.zeros((NY, NX), np.int64)
    hits[30, 10:15] = 3
    page = page_of_files({"DATACUBE_FINAL": [cube]}, {"cosmic rays": hits})
    titles = [section.title for section in page.sections]
    assert titles == [
        "Field", "Spectra of the brightest objects", "Image quality and refraction", "Background and noise",
        "Coverage and weights",
    ]  # fmt: skip
    maps = [part for part in page.sections[-1].parts if isinstance(part, Picture) and part.half]
    assert [part.text for part in maps] == ["map of weight", "map of chi", "map of rows left out"]
    assert "all wavelengths: 15." in maps[-1].caption
    html = page.html(RunRecord("muse_scipost"))
    assert html.count('class="half"') == 5
    assert "two stars" in html
    assert "on lines of the sky" in html


def test_cubes_with_more_planes_are_compared(cube, tmp_path):
    other = tmp_path / "longer.fits"
    with fits.open(cube) as hdus:
        for hdu in hdus[1:]:
            hdu.data = np.concatenate([hdu.data, hdu.data[-1:]])
        hdus["DATA"].data[3, 20, 20] += 1.0
        hdus.writeto(other)
    found = compare_files(cube, other)
    assert len(found.shapes) == 2
    assert all("the planes that both have are compared" in text for text in found.shapes)
    assert {n.name: n.different for n in found.numbers} == {"DATA": 1, "STAT": 0}
