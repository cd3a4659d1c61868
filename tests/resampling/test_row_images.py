# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest

from muse_core.data.block import Block
from muse_core.resampling.collapse import Filter, white_filter
from muse_core.resampling.grid import OutputGrid
from muse_core.resampling.row_images import RowImages
from muse_core.resampling.weights import Resampling

pytestmark = [pytest.mark.unit, pytest.mark.kernel]

GRID = OutputGrid(
    nx=8,
    ny=6,
    nz=4,
    crpix=(1.0, 1.0, 1.0),
    crval=(0.0, 0.0, 6000.0),
    matrix=((1.0, 0.0), (0.0, 1.0)),
    dlambda=1.25,
    ctype=("PIXEL", "PIXEL", "AWAV"),
    cunit=("pixel", "pixel", "Angstrom"),
    scale=(1.0, 1.0),
)


def rows(n=400, seed=1, constant=None):
    rng = np.random.default_rng(seed)
    f4 = np.float32
    data = rng.normal(10, 2, n) if constant is None else np.full(n, constant)
    return Block(
        rng.uniform(-0.4, 7.4, n).astype(f4),
        rng.uniform(-0.4, 5.4, n).astype(f4),
        rng.uniform(6000, 6004, n).astype(f4),
        data.astype(f4),
        np.where(rng.random(n) < 0.1, 32, 0).astype(np.int32),
        np.ones(n, f4),
        np.zeros(n, np.int32),
        np.arange(n, dtype=np.int64),
    )


def images(*blocks, method="drizzle", weights=(1.0, 1.0)):
    band = Filter("band", np.array([5990.0, 6001.0, 6010.0]), np.array([0.0, 1.0, 0.2]))
    made = RowImages([white_filter(), band], GRID, (0.0, 0.0), Resampling(method), (6000.0, 6004.0))
    for block, weight in zip(blocks, weights, strict=False):
        made.add_block(block, weight)
    return made


def slow_drizzle(block, weight):
    total, norm = np.zeros((6, 8)), np.zeros((6, 8))
    for x, y, d, q, w in zip(block.xpos, block.ypos, block.data, block.dq, weight, strict=True):
        if q:
            continue
        cx, cy = np.floor(np.float64(x) + 0.5), np.floor(np.float64(y) + 0.5)
        for iy in range(6):
            for ix in range(8):
                if abs(iy - cy) <= 1 and abs(ix - cx) <= 1:
                    overlap = [min(0.9 - abs(float(a) - b), 0.8) / 0.8 for a, b in ((x, ix), (y, iy))]
                    if min(overlap) > 0:
                        total[iy, ix] += overlap[0] * overlap[1] * w * d
                        norm[iy, ix] += overlap[0] * overlap[1] * w
    return total / np.where(norm > 0, norm, np.nan)


def test_drizzle():
    block = rows()
    white, band = images(block)
    np.testing.assert_allclose(white.image(), slow_drizzle(block, np.ones(400)), rtol=1e-6)
    np.testing.assert_allclose(band.image(), slow_drizzle(block, band.band.at(block.lam)), rtol=1e-6)
    assert white.drs_cards()[0][1] == "white"
    assert white.fraction == pytest.approx(100 * 4 / 4650)


@pytest.mark.law
@pytest.mark.parametrize("method", ["drizzle", "linear", "quadratic", "renka", "lanczos", "nearest"])
def test_a_constant_stays_constant(method):
    for image in images(rows(constant=3.25), method=method):
        values = image.image()
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values, 3.25, rtol=1e-6)


@pytest.mark.law
def test_weights_and_pieces():
    one, two = rows(seed=1), rows(seed=2)
    scaled = images(one, two, weights=(2.0, 5.0))
    for first, other in zip(scaled, images(one, two, weights=(0.4, 1.0)), strict=True):
        np.testing.assert_allclose(first.image(), other.image(), rtol=2e-7)
    index = np.arange(400)
    parts = [one.select(part == index // 100) for part in range(4)]
    for first, other in zip(images(one), images(*parts, weights=(1.0,) * 4), strict=True):
        np.testing.assert_array_equal(first.image(), other.image())
