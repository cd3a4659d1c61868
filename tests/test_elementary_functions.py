# SPDX-License-Identifier: BSD-3-Clause
"""The branch-free elementary functions and the kernels made of them, beside the mathematical library."""

import math

import numpy as np
import pytest
from numba import njit

from muse_core.data import elementary_functions as functions
from muse_core.postproc.astrometry.position_kernels import _celestial, rotate_rows
from muse_core.postproc.astrometry.projection_kernels import _native, project_rows

pytestmark = [pytest.mark.unit, pytest.mark.kernel]


def plain(function):
    """The Python function behind a compiled one."""
    return getattr(function, "py_func", function)


RNG = np.random.default_rng(8)
SMALL = np.concatenate([RNG.uniform(-1, 1, 5000) * functions.SMALL, [0.0, 1e-300, -1e-9, functions.SMALL]])
ULP = 2.0**-52


def compiled(function):
    @njit
    def loop(values, out):
        for i in range(values.size):
            out[i] = function(values[i])

    def call(values):
        out = np.empty_like(values)
        loop(values, out)
        return out

    return call


@pytest.mark.parametrize(
    ("name", "reference", "values"),
    [
        ("small_sine", np.sin, SMALL),
        ("small_cosine", np.cos, SMALL),
        ("small_arcsine", np.arcsin, SMALL),
        ("small_arctangent", np.arctan, SMALL),
        ("arctangent", np.arctan, RNG.uniform(-1, 1, 5000) * math.tan(math.pi / 8)),
        ("exponential", np.exp, RNG.uniform(-600, 600, 5000)),
        ("exponential", np.exp, RNG.uniform(-1, 1, 5000)),
    ],
)
def test_functions_are_exact_to_the_last_place(name, reference, values):
    found = compiled(getattr(functions, name))(values)
    np.testing.assert_allclose(found, reference(values), rtol=2 * ULP, atol=0)


def test_exponential_of_anything():
    call = compiled(functions.exponential)
    with np.errstate(over="ignore"):
        found = call(np.array([np.nan, 0.0, 1e9, -1e9, np.inf]))
    assert np.isnan(found[0])
    assert found[1] == 1.0
    assert (found[[2, 4]] > 1e303).all()
    assert 0.0 <= found[3] < 1e-303


def test_sine_and_cosine_over_the_circle():
    @njit
    def loop(values, sines, cosines):
        for i in range(values.size):
            sines[i], cosines[i] = functions.sine_cosine(values[i])

    values = np.concatenate([RNG.uniform(-1, 1, 20000) * 1.2 * np.pi, np.arange(-4, 5) * np.pi / 4, [np.pi]])
    sines, cosines = np.empty_like(values), np.empty_like(values)
    loop(values, sines, cosines)
    np.testing.assert_allclose(sines, np.sin(values), rtol=2 * ULP, atol=1e-32)
    np.testing.assert_allclose(cosines, np.cos(values), rtol=2 * ULP, atol=1e-32)


def test_angles_of_points_all_round():
    @njit
    def loop(y, x, out):
        for i in range(x.size):
            out[i] = functions.turn_angle(y[i], x[i])

    angle = np.concatenate([RNG.uniform(0, 2 * np.pi, 20000), np.arange(16) * np.pi / 8 + 1e-9])
    size = 10 ** RNG.uniform(-9, 3, angle.size)
    y, x, out = size * np.sin(angle), size * np.cos(angle), np.empty_like(angle)
    loop(y, x, out)
    expected = np.arctan2(y, x)
    expected[expected < 0] += 2 * np.pi
    np.testing.assert_allclose(out, expected, rtol=2 * ULP, atol=0)


PIXELS = 0.2 / 3600
MATRICES = [(-PIXELS, 0.0, 0.0, PIXELS), (-3e-5, 4e-5, 5e-5, 3e-5), (-0.02, 0.01, 0.01, 0.02)]


def pixel_rows(n=30000):
    x, y = np.random.default_rng(2).uniform(-160, 160, (2, n)).astype("f4")
    x[100:110], y[100:110] = 0.5, 0.25  # the pole itself
    x[200:210] = 0.5  # where the angle jumps
    y[300:310] = 0.25
    x[400], y[401] = np.nan, np.nan
    x[500], y[501] = np.inf, -np.inf
    return x, y


@pytest.mark.parametrize("cd", MATRICES)
def test_projection_is_that_of_the_mathematical_library(cd):
    x, y = pixel_rows()
    with np.errstate(invalid="ignore"):
        planes = zip(
            cd[0] * (x.astype("f8") - 0.5) + cd[1] * (y.astype("f8") - 0.25),
            cd[2] * (x.astype("f8") - 0.5) + cd[3] * (y.astype("f8") - 0.25),
        )
    expected = [plain(_native)(float(a), float(b)) for a, b in planes]
    phi, theta = np.array(expected).astype("f4").T
    project_rows(x, y, *cd, 0.5, 0.25)
    np.testing.assert_array_equal(x, phi)
    # distances near the pole are differences of angles near pi/2: one place of these is all there is
    np.testing.assert_allclose(y, theta, rtol=1.2e-7, atol=1.2e-16)
    assert (y != theta).mean() < 1e-4


@pytest.mark.parametrize("cd", MATRICES)
@pytest.mark.parametrize("dec", [-30.2, 0.0, 79.9, 85.0, -89.999, 90.0])
def test_positions_are_those_of_the_mathematical_library(cd, dec):
    x, y = pixel_rows()
    project_rows(x, y, *cd, 0.5, 0.25)
    pole = math.radians(dec)
    rows = [plain(_celestial)(a, b, dec, math.sin(pole), math.cos(pole)) for a, b in zip(x, y) if a == a]
    ra, delta = np.array(rows).astype("f4").T
    good = x == x
    rotate_rows(x, y, dec)
    # the last bit of float32; near the pole the last place of a declination in degrees (1.4e-14)
    np.testing.assert_allclose(x[good], ra, rtol=1.2e-7, atol=2e-14)
    np.testing.assert_allclose(y[good], delta, rtol=1.2e-7, atol=5e-14)
    assert (x[good] != ra).mean() < 3e-4
    assert (y[good] != delta).mean() < 1e-3
    assert np.isnan(x[~good]).all()


def test_rows_do_not_depend_on_their_neighbours():
    """A row is treated alone or with seven others: the same bits."""
    x, y = pixel_rows(4000)
    together, alone = (x.copy(), y.copy()), (x.copy(), y.copy())
    project_rows(*together, *MATRICES[1], 0.5, 0.25)
    rotate_rows(*together, -30.2)
    for i in range(x.size):
        part = alone[0][i : i + 1], alone[1][i : i + 1]
        project_rows(*part, *MATRICES[1], 0.5, 0.25)
        rotate_rows(*part, -30.2)
    assert together[0].tobytes() == alone[0].tobytes()
    assert together[1].tobytes() == alone[1].tobytes()
