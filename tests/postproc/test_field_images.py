# SPDX-License-Identifier: BSD-3-Clause
"""Quick images of the exposures of a combination."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from muse_core.data.block import Block
from muse_core.framework.team import Threads
from muse_core.postproc.combination.field_images import FieldGrid, field_images
from muse_core.postproc.combination.image_kernels import share_rows

STEP = 0.2 / 3600.0


def rows(seed, n=4000, width=30.0):
    """Rows of a field of some pixels, flagged and infinite ones among them."""
    rng = np.random.default_rng(seed)
    f4, i4 = np.float32, np.int32
    xpos, ypos = (rng.uniform(-1.0, width * STEP, n).astype(f4) for _ in range(2))
    xpos[: n // 2], ypos[: n // 2] = (rng.uniform(0.0, width * STEP, n // 2).astype(f4) for _ in range(2))
    xpos[5], ypos[6] = np.nan, np.inf
    data = rng.normal(size=n).astype(f4)
    data[:3] = np.nan, np.inf, -np.inf
    dq = (rng.random(n) < 0.1).astype(i4)
    lam = rng.uniform(5000.0, 5400.0, n).astype(f4)
    return Block(xpos, ypos, lam, data, dq, np.ones(n, f4), np.zeros(n, i4), np.arange(n))


@pytest.mark.kernel
def test_rows_are_shared_by_four_pixels():
    block = rows(1)
    grid = FieldGrid((25.0 * STEP, 1.0 * STEP), STEP, 0.8, 21, 24)
    total, weight = np.zeros((2, grid.ny, grid.nx))
    share_rows(
        block.xpos, block.ypos, block.data, block.dq, grid.corner, grid.cosine, grid.step, total, weight
    )
    x, y = grid.pixels(block)
    good = (block.dq == 0) & np.isfinite(block.data)
    good &= (x >= 0.0) & (x < grid.nx - 1) & (y >= 0.0) & (y < grid.ny - 1)
    x, y, data = x[good], y[good], block.data[good].astype(float)
    ix, iy = x.astype(int), y.astype(int)
    expected = np.zeros((2, grid.ny, grid.nx))
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        share = np.abs(1 - dx - (x - ix)) * np.abs(1 - dy - (y - iy))
        place, size = (iy + dy) * grid.nx + ix + dx, grid.ny * grid.nx
        expected[0] += np.bincount(place, share * data, size).reshape(grid.ny, grid.nx)
        expected[1] += np.bincount(place, share, size).reshape(grid.ny, grid.nx)
    assert expected[1].sum() > 500
    assert np.stack([total, weight]).tobytes() == expected.tobytes()


def test_threads_and_memory_change_no_bit():
    class Rows(SimpleNamespace):
        def gather(self, low, high):
            return self.block.select((self.block.lam >= low) & (self.block.lam <= high))

    members = [
        SimpleNamespace(chain=Rows(block=rows(seed, 60000), rows=60000), keywords={}) for seed in range(3)
    ]
    limits = SimpleNamespace(x=(10.0, 10.0 + 30 * STEP), y=(20.0, 20.0 + 30 * STEP), lam=(5000.0, 5400.0))
    combination = SimpleNamespace(members=members, limits=limits, reference=(10.0, 20.0))
    made = [
        field_images(combination, SimpleNamespace(team=Threads(threads), memory_bytes=memory))
        for threads, memory in ((1, 10**9), (3, 10**9), (3, 10**5))
    ]
    assert np.isfinite(made[0][0]).sum() > 500
    for images in made[1:]:
        assert [image.tobytes() for image in images] == [image.tobytes() for image in made[0]]
