# SPDX-License-Identifier: BSD-3-Clause
"""Covariance of cubes: its sums by hand, and the errors of apertures against many draws of the noise."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.block import Block
from muse_core.framework import InputError
from muse_core.framework.team import Threads
from muse_core.resampling.apertures import _is_clear, _places, aperture_variance, noise_factor
from muse_core.resampling.cosmics import NOT_SAME_Y
from muse_core.resampling.covariance import assemble, measure_covariance
from muse_core.resampling.covariance_file import covariance_extension, read_covariance
from muse_core.resampling.grid import pixel_grid
from muse_core.resampling.plan import CosmicRejection, CubePlan
from muse_core.resampling.schedule import cube_slabs
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import METHODS, Resampling

pytestmark = pytest.mark.unit

NX, NY, NZ = 26, 25, 24
GRID = pixel_grid(((0.0, NX - 1.0), (0.0, NY - 1.0), (5000.0, 5000.0 + 1.25 * (NZ - 1))))


def detector_rows(rng, dx=0.0, dy=0.0, angle=0.0):
    """Rows on the pixels of slices 1.03 spaxels apart, each with its own phase in x and wavelength."""
    y, x, z = np.meshgrid(np.arange(-16, 17), np.arange(-18, 19), np.arange(-2, NZ + 3), indexing="ij")
    phase = rng.uniform(-0.5, 0.5, (2, 33))
    x = x * 1.003 + phase[0][:, None, None] * 0.4
    lam = 5000.0 + 1.25 * (z * 1.01 + phase[1][:, None, None] + 0.01 * x)
    turn = np.deg2rad(angle)
    sky_x = np.cos(turn) * x - np.sin(turn) * y * 1.03 + NX / 2 + dx
    sky_y = np.sin(turn) * x + np.cos(turn) * y * 1.03 + NY / 2 + dy
    keep = (np.abs(sky_x - NX / 2) < NX / 2 + 1) & (np.abs(sky_y - NY / 2) < NY / 2 + 1)
    n = int(keep.sum())
    f4 = np.float32
    stat = (1.0 + 0.5 * np.sin(lam[keep] / 4.0)).astype(f4)
    zero = np.zeros(n, np.int32)
    return Block(
        sky_x[keep].astype(f4), sky_y[keep].astype(f4), lam[keep].astype(f4), np.zeros(n, f4), zero, stat,
        zero, np.arange(n),
    )  # fmt: skip


def exposures(number, rng):
    places = [(0.0, 0.0, 0.0), (0.37, -0.21, 0.0), (-0.55, 0.62, 90.0)]
    return [detector_rows(rng, *place) for place in places[:number]]


def contribution(block, weight=None):
    def gather(low, high):
        return block.select((block.lam >= low) & (block.lam <= high))

    return Contribution(gather, len(block), weight)


def cube(blocks, plan, weights=None):
    parts = [contribution(b, w) for b, w in zip(blocks, weights or [None] * len(blocks))]
    slabs = list(cube_slabs(parts, plan, team=Threads(), memory_bytes=10**8))
    return np.concatenate([s.data for s in slabs]), np.concatenate([s.stat for s in slabs])


def covariance_of(blocks, plan, threads=1, weights=None):
    parts = [contribution(b, w) for b, w in zip(blocks, weights or [None] * len(blocks))]
    return assemble(list(measure_covariance(parts, plan, team=Threads(threads), memory_bytes=10**9)), plan)


def as_hdus(stat, covariance):
    return fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(stat, name="STAT"), covariance_extension(covariance)]
    )


def apertures(stat, n, planes):
    """Boxes of apertures all over the field: those of `noise_factor`, since no two places are alike."""
    size = planes, n, n
    boxes = [tuple(slice(a, a + own) for a, own in zip(at, size)) for at in _places(stat.shape, size)]
    boxes = [box for box in boxes if np.all(stat[box] > 0)]
    return [box for box in boxes if _is_clear(stat, box)] or boxes


def masked(box):
    mask = np.zeros((NZ, NY, NX), bool)
    mask[box] = True
    return mask


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_errors_of_apertures_equal_those_of_many_draws(method, number):
    rng = np.random.default_rng(7)
    blocks = exposures(number, rng)
    plan = CubePlan(GRID, (0.0, 0.0), Resampling(method))
    _, stat = cube(blocks, plan)
    covariance = covariance_of(blocks, plan)
    hdus = as_hdus(stat, covariance)
    draws = []
    for _ in range(80):
        for block in blocks:
            block.data[:] = rng.normal(0, 1, len(block)) * np.sqrt(block.stat)
        draws.append(cube(blocks, plan)[0])
    draws = np.array(draws)
    naive, found, single = {}, {}, {}
    for n, planes in ((1, 1), (3, 1), (9, 1), (1, 4), (3, 4), (5, 16)):
        true, expected, summed = [], [], []
        for box in apertures(stat, n, planes):
            true.append(np.mean(draws[:, *box].sum(axis=(1, 2, 3), dtype=float) ** 2))
            expected.append(aperture_variance(hdus, masked(box)))
            summed.append(stat[box].sum(dtype=float))
        naive[n, planes] = np.sqrt(np.mean(np.array(true) / summed))
        chi = np.sqrt(np.mean(np.array(true) / expected))
        found[n, planes] = np.sqrt(np.sum(true) / np.sum(expected)), chi, noise_factor(hdus, n, planes)
        single[n, planes] = np.std(np.sqrt(np.array(true) / expected))
    print(method, number, {k: (naive[k].round(3), *np.round(v, 3)) for k, v in found.items()}, single)
    for (n, planes), (error, chi, factor) in found.items():
        # 80 draws of some apertures that are independent: 1 to 3 %
        assert error == pytest.approx(1.0, abs=0.05), (n, planes)
        assert chi == pytest.approx(1.0, abs=0.05), (n, planes)
        assert single[n, planes] < 0.12, (n, planes)  # of one aperture, 80 draws: 8 %
        assert factor == pytest.approx(naive[n, planes], rel=0.06), (n, planes)
    if method == "nearest":
        assert naive[9, 1] == pytest.approx(1.0, abs=0.05)
    else:
        assert naive[9, 1] > 1.1  # STAT alone is too small


@pytest.mark.kernel
def test_coefficients_by_hand():
    """Two rows in drizzle with full pixels; the first one falls half on each of two voxels."""
    f4 = np.float32
    zero = np.zeros(2, np.int32)
    lam = np.full(2, 5001.25, f4)
    block = Block(
        np.array([1.5, 2.0], f4), np.array([1.0, 1.0], f4), lam, np.zeros(2, f4), zero,
        np.array([4.0, 1.0], f4), zero, np.arange(2),
    )  # fmt: skip
    grid = pixel_grid(((0.0, 4.0), (0.0, 2.0), (5000.0, 5002.5)))
    plan = CubePlan(grid, (0.0, 0.0), Resampling("drizzle", (1.0, 1.0, 1.0)))
    covariance = covariance_of([block], plan)
    # voxel 1: the first row alone, variance 4; voxel 2: weights 0.5 and 1
    both = 0.5 * 4.0 / 1.5
    expected = both / np.sqrt(4.0 * (0.25 * 4.0 + 1.0) / 1.5**2)
    reach = (covariance.rho.shape[-1] - 1) // 2
    assert reach == 1
    assert covariance.rho[0, 0, 0, 0, reach, reach + 1] == pytest.approx(expected, rel=1e-6)
    assert covariance.rho[0, 0, 0, 0, reach, reach] == pytest.approx(1.0)


@pytest.mark.kernel
@pytest.mark.slow  # minutes without the compiler
@pytest.mark.parametrize("method", [m for m in METHODS if m != "nearest"])
def test_weights_are_those_of_the_cube(method):
    """The covariance of a voxel with itself is its STAT; weights of exposures and cosmic rays included."""
    rng = np.random.default_rng(3)
    blocks = exposures(2, rng)
    blocks[0].data[::50] += 100.0
    cosmics = CosmicRejection("median", 10.0, NOT_SAME_Y)
    plan = CubePlan(GRID, (0.0, 0.0), Resampling(method, ld=2 if method == "lanczos" else 1), cosmics)
    covariance = covariance_of(blocks, plan, weights=[1.0, 0.3])
    reach = (covariance.rho.shape[-1] - 1) // 2
    np.testing.assert_allclose(covariance.rho[..., 0, reach, reach], 1.0, rtol=1e-6)
    assert covariance.tile == 1
    same = covariance.rho[:, :, :, 0]  # two spaxels see each other with the same coefficient
    np.testing.assert_allclose(
        same[:, :-1, :-1, reach + 1, reach + 1], same[:, 1:, 1:, reach - 1, reach - 1], rtol=1e-5
    )


def test_threads_change_no_bit():
    plan = CubePlan(GRID, (0.0, 0.0), Resampling())
    blocks = exposures(2, np.random.default_rng(5))
    one, three = (covariance_of(blocks, plan, threads) for threads in (1, 3))
    assert one.rho.tobytes() == three.rho.tobytes()


def test_spectrum_and_scaled_variances(tmp_path):
    plan = CubePlan(GRID, (0.0, 0.0), Resampling())
    blocks = exposures(1, np.random.default_rng(6))
    _, stat = cube(blocks, plan)
    covariance = covariance_of(blocks, plan)
    image = np.zeros((NY, NX))
    image[8:13, 9:14] = 1.0
    spectrum = aperture_variance(as_hdus(stat, covariance), image)
    each = np.zeros((NZ, NY, NX), bool)
    each[7] = image > 0
    assert spectrum[7] == pytest.approx(aperture_variance(as_hdus(stat, covariance), each))
    scaled = replace(covariance, stat_aperture=5, scales=covariance.noise_factors(5) ** 2)
    path = tmp_path / "cube.fits"
    factors = scaled.stat_factors(NZ).astype(np.float32)
    as_hdus(stat * factors[:, None, None], scaled).writeto(path)
    np.testing.assert_allclose(aperture_variance(path, image), spectrum, rtol=1e-5)
    with fits.open(path) as hdus:
        assert read_covariance(hdus, stat.shape).stat_aperture == 5
        ratios = []
        for y, x in np.ndindex(4, 4):  # the factor is right in the mean over the field
            here = np.zeros((NY, NX))
            here[2 + 5 * y : 7 + 5 * y, 2 + 5 * x : 7 + 5 * x] = 1.0
            ratios.append(aperture_variance(hdus, here) / np.nansum(hdus["STAT"].data * here, axis=(1, 2)))
    # the outermost spaxels, noisier, are a fourth of this field and in no aperture
    np.testing.assert_allclose(np.mean(ratios, axis=0)[4:-4], 1.0, atol=0.08)
    assert noise_factor(path, 5) == pytest.approx(1.0, abs=0.05)


def test_what_cannot_be_done_is_said():
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((2, 3, 4), np.float32), name="STAT")])
    with pytest.raises(InputError, match="covariance=true"):
        aperture_variance(hdus, np.ones((3, 4)))
    plan = CubePlan(GRID, (0.0, 0.0), Resampling("nearest"))
    hdus.append(covariance_extension(covariance_of([], plan)))
    assert aperture_variance(hdus, np.ones((2, 3, 4))) == pytest.approx(24.0)
    assert aperture_variance(hdus, np.zeros((2, 3, 4))) == 0.0
    with pytest.raises(InputError, match="shape"):
        aperture_variance(hdus, np.ones((4, 3)))
    with pytest.raises(InputError, match="finite weights"):
        aperture_variance(hdus, np.full((3, 4), np.nan))
    del hdus["STAT"]
    for ask in (lambda cube: noise_factor(cube, 1), lambda cube: aperture_variance(cube, np.ones((3, 4)))):
        with pytest.raises(InputError, match="STAT"):
            ask(hdus)


def test_covariance_of_another_cube_is_refused():
    """A part of a cube has other tiles: its coefficients would be those of other places, without a word."""
    plan = CubePlan(GRID, (0.0, 0.0), Resampling())
    covariance = covariance_of(exposures(1, np.random.default_rng(6)), plan)
    stat = np.ones((NZ, NY, NX), np.float32)
    assert noise_factor(as_hdus(stat, covariance), 2) > 1.0
    with pytest.raises(InputError, match="as it was made"):
        noise_factor(as_hdus(stat[:, 9:, :], covariance), 2)
    with pytest.raises(InputError, match="as it was made"):
        noise_factor(as_hdus(stat, replace(covariance, rho=covariance.rho[..., :-1])), 2)
    for wrong in (0.0, "none"):
        hdus = as_hdus(stat, replace(covariance, stat_aperture=5))
        hdus["COVARIANCE"].header["HIERARCH ESO DRS MUSE COVAR SCALE1"] = wrong
        with pytest.raises(InputError, match="positive ones"):
            noise_factor(hdus, 2)
