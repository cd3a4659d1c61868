# SPDX-License-Identifier: BSD-3-Clause
"""Lamps, catalogue, Gaussians, detection, identification, polynomials: piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.arcs.catalog import LineCatalog, read_line_catalog
from muse_core.arcs.detection import FWHM, detect_lines
from muse_core.arcs.gaussian_kernels import fit_gaussians
from muse_core.arcs.identify import MatchPlan, identify
from muse_core.arcs.lamps import Lamps, by_lamps, lamps_of
from muse_core.arcs.line_fits import LineFitPlan, _points, line_groups
from muse_core.arcs.line_kernels import HALF, fit_along
from muse_core.arcs.polynomials import fit_curve_clipped, fit_surface
from muse_core.framework import InputError
from muse_core.simulate.arcs import LINES, OF_ION, arc_header, arc_setup, write_line_catalog


def header(*lamps):
    return arc_header(arc_setup(), 1, lamps)


def test_a_lamp_is_on_with_its_shutter_open():
    assert lamps_of(header("Xe")) == Lamps((4,), ("Xe",))
    closed = header("Xe")
    closed["ESO INS SHUT4 ST"] = False
    assert not lamps_of(closed)
    assert str(lamps_of(header("Ne", "HgCd"))) == "Ne + HgCd"
    groups = by_lamps([(1, lamps_of(header("Ne"))), (2, lamps_of(header())), (3, lamps_of(header("Ne")))])
    assert [(str(lamps), items) for lamps, items in groups] == [("Ne", [1, 3]), ("no lamp", [2])]


def reversed_order(_, table):
    table.data["lambda"][:] = table.data["lambda"][::-1].copy()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, t: (p.header.remove("VERSION"), t.header.remove("VERSION")), "expected VERSION = 3"),
        (lambda p, _: p.header.set("VERSION", 2), "expected 3, found 2"),
        (reversed_order, "increasing order"),
        (lambda _, t: t.columns.del_col("quality"), "no quality"),
        (lambda _, t: t.data["lambda"].__setitem__(0, np.nan), "finite numbers"),
        (lambda _, t: t.data["lambda"].__setitem__(-1, 1e15), "up to 100000, found 1e\\+15"),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_told(change, message, tmp_path):
    path = write_line_catalog(tmp_path / "lines.fits")
    with fits.open(path) as hdus:
        change(hdus[0], hdus[1])
        hdus.writeto(tmp_path / "other.fits")
    with pytest.raises(InputError, match=message):
        read_line_catalog(tmp_path / "other.fits")


def test_gaussians_are_found_again():
    x = np.arange(20.0)
    truth = np.array([7.3, 11.6, 500.0, 300.0, 12.0, 0.4, 0.95])  # two lines, straight background, width
    y = truth[4] + truth[5] * x
    for centre, area in ((truth[0], truth[2]), (truth[1], truth[3])):
        y += area / np.sqrt(2 * np.pi) / truth[6] * np.exp(-0.5 * ((x - centre) / truth[6]) ** 2)
    p, errors = np.array([7.0, 12.0, 300.0, 300.0, 5.0, 0.0, 0.8]), np.empty(7)
    assert fit_gaussians(p, 2, 2, True, y, np.full(20, 1 / 25.0), errors)
    np.testing.assert_allclose(p, truth, rtol=1e-7)
    assert (errors > 0).all()


def test_values_without_weight_do_not_count():
    x = np.arange(13.0)
    y = 10 + 200 * np.exp(-0.5 * ((x - 6.2) / 0.9) ** 2)
    weight = np.full(13, 0.1)
    y[5], weight[5] = 5e4, 0.0
    p, errors = np.array([6.0, 400.0, 10.0, 0.9]), np.empty(4)
    assert fit_gaussians(p, 1, 1, True, y, weight, errors)
    assert abs(p[0] - 6.2) < 1e-6
    assert not fit_gaussians(p, 1, 1, True, y[:3], weight[:3], errors)


@pytest.mark.parametrize("anything", [np.nan, np.inf, 5e4])
def test_a_flagged_pixel_may_hold_anything(anything):
    rows, columns = np.arange(1.0, 41.0)[:, None], np.arange(9)
    data = (10 + 200 * np.exp(-0.5 * ((rows - 20.2 - 0.02 * columns) / 0.9) ** 2)).astype(np.float32)
    dq = np.zeros(data.shape, np.int32)
    data[17, 4], dq[17, 4] = anything, 1
    out = np.empty((9, 1, 4))
    stat = np.full_like(data, 10.0)
    fit_along(data, stat, dq, 0, 1, 5, 9, False, 1, 1, True, HALF, HALF, np.array([20.0]), out)
    np.testing.assert_allclose(out[:, 0, 0], 20.2 + 0.02 * columns, atol=1e-5)


def test_lines_are_detected_blends_are_not():
    y = np.arange(1, 401.0)
    value = np.full(400, 15.0)
    for centre, area in ((60.3, 900.0), (150.7, 5000.0), (300.0, 900.0), (305.3, 900.0)):
        value += area / np.sqrt(2 * np.pi) / 0.9 * np.exp(-0.5 * ((y - centre) / 0.9) ** 2)
    noise = np.random.default_rng(1).standard_normal(400)
    found = detect_lines((value + noise).astype(np.float32), (value + 1).astype(np.float32), 1.0)
    np.testing.assert_allclose(found.centre, [60.3, 150.7], atol=0.05)
    np.testing.assert_allclose(found.sigma * FWHM, 0.9 * FWHM, rtol=0.1)


@pytest.mark.parametrize("seed", range(6))
def test_lines_are_identified(seed):
    """Shifted, stretched and bent, with false detections and missing lines."""
    rng = np.random.default_rng(seed)
    names = sorted(set(OF_ION.values()))
    good = [line for line in LINES if line.quality > 0]
    lam = np.array([line.lam for line in good])
    lamp = np.array([names.index(OF_ION[line.ion]) for line in good])
    scale, bend, offset = rng.uniform(1.22, 1.28), rng.uniform(-12, 12), rng.uniform(-60, 60)
    rows = np.arange(1, 4113)
    u = (rows - 2056.5) / 2056
    course = 7000 + offset + scale * 2056 * u + bend * u**2 + rng.uniform(-3, 3) * u**3
    centre = np.interp(lam, course, rows)
    seen = (lam > course[0]) & (lam < course[-1]) & (rng.random(lam.size) > 0.15)
    false = rng.uniform(1, 4112, 6)
    all_centres = np.concatenate([centre[seen] + 0.02 * rng.standard_normal(seen.sum()), false])
    all_lamps = np.concatenate([lamp[seen], rng.integers(0, 3, 6)])
    partner = identify(all_centres, all_lamps, lam, lamp, 4112, MatchPlan())
    true = np.flatnonzero(seen)
    np.testing.assert_array_equal(partner[: true.size], true)


def test_too_few_lines_end_at_once():
    nothing = identify(np.array([10.0]), np.array([0]), np.array([5000.0]), np.array([0]), 4112, MatchPlan())
    assert (nothing == -1).all()


def test_multiplets_are_near_lines_of_quality_two(tmp_path):
    catalog = read_line_catalog(write_line_catalog(tmp_path / "lines.fits"))
    groups = list(line_groups(catalog, np.ones(catalog.lam.size, bool)))
    together = [catalog.lam[group].round(1).tolist() for group in groups if len(group) > 1]
    assert [4916.5, 4923.2] in together
    assert [8780.6, 8783.8] in together
    assert all(span[-1] - span[0] <= 40 for span in together)
    assert sorted(i for group in groups for i in group) == np.flatnonzero(catalog.quality >= 2).tolist()


def test_the_clipped_curve_leaves_outliers_out():
    x = np.linspace(4700, 9300, 60)
    y = 3 + 0.8 * x + 1e-5 * x**2
    y[7] += 40
    fit = fit_curve_clipped(x, y, 2, 3.0)
    assert fit is not None
    curve, kept, square = fit
    assert not kept[7]
    assert square < 1e-12
    np.testing.assert_allclose(curve.slope(6000.0), 0.8 + 2e-5 * 6000, rtol=1e-9)


def test_powers_of_a_surface_give_its_values():
    rng = np.random.default_rng(3)
    x, y = rng.integers(1900, 1980, 400).astype(float), rng.uniform(1, 4112, 400)
    z = 4600 + 1.25 * y + 0.1 * x + 1e-6 * y**2 + rng.standard_normal(400) * 0.01
    surface, values = fit_surface(x, y, z, np.ones(400), (2, 6))
    np.testing.assert_allclose(surface(x, y), values, rtol=0, atol=1e-9)
    # coefficients of powers of pixels are large and of both signs: a part of 1e-10 of the wavelength is lost
    powers = np.polynomial.polynomial.polyval2d(x, y, surface.powers())
    np.testing.assert_allclose(powers, values, rtol=0, atol=2e-6)


def test_lines_in_few_columns_do_not_count_without_end():
    """As many columns as coefficients: no scatter about the curve, and no weight of infinity."""
    fits_of_line = np.stack([[100.0, 0.01, 0.9, 500.0], [100.1, 0.01, 0.9, 500.0], [100.3, 0.01, 0.9, 500.0]])
    catalog = LineCatalog(np.array([5000.0]), np.array([1.0]), np.array([3]), ("NeI",), ("Ne",))
    plan = LineFitPlan(2, 2.5, "scatter")
    points = _points(fits_of_line, (10, 11, 12), 0, catalog, 1.25, plan)
    assert points is not None
    assert (points.error >= 1e-3).all()
