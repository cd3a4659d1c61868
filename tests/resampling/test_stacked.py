# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from astropy.io import fits
from product_helpers import FLUX, assert_same_cards, open_golden, primary

from muse_core.data.block import Block
from muse_core.framework import ParameterError
from muse_core.framework.team import Threads
from muse_core.resampling.stacked import (
    SliceLimits,
    StackedSource,
    column_step,
    stacked_layout,
    stacked_slab,
    write_stacked,
)
from tests.golden import golden_set

pytestmark = [pytest.mark.unit, pytest.mark.kernel]


def table(seed=1, slices=((3, 5), (3, 9), (12, 1)), columns=6, planes=12, constant=None):
    """Rows of a few slices on a slightly distorted grid, with bad rows."""
    rng = np.random.default_rng(seed)
    xpos, lam, origin = [], [], []
    for number, (ifu, piece) in enumerate(slices):
        x, k = np.meshgrid(np.arange(columns), np.arange(planes))
        xpos.append((10.0 * number + x + rng.normal(0, 0.05, x.shape)).ravel())
        lam.append((6000.0 + 1.25 * k + 0.3 * number + rng.uniform(-0.3, 0.3, k.shape)).ravel())
        origin.append(np.full(x.size, ifu << 6 | piece))
    n = sum(len(part) for part in lam)
    data = rng.normal(20.0, 5.0, n) if constant is None else np.full(n, constant)
    dq = np.where(rng.random(n) < 0.05, 256, 0)
    f4 = np.float32
    return Block(
        np.concatenate(xpos).astype(f4),
        np.zeros(n, f4),
        np.concatenate(lam).astype(f4),
        data.astype(f4),
        dq.astype(np.int32),
        np.ones(n, f4),
        np.concatenate(origin).astype(np.int32),
        np.arange(n, dtype=np.int64),
    )


def source(block, cosmics=None):
    return StackedSource(lambda low, high: block.select((block.lam >= low) & (block.lam < high)), cosmics)


def limits_of(blocks):
    limits = SliceLimits()
    for block in blocks:
        limits.add(block.xpos, block.origin)
    return limits


def layout_of(block, step=1.0, dlambda=1.25):
    return stacked_layout(limits_of([block]), step, (float(block.lam.min()), float(block.lam.max())), dlambda)


def slow_image(block, layout):
    """Twin of the kernel, pixel by pixel."""
    image = np.zeros((layout.ny, layout.nx))
    good = block.dq == 0
    key = block.origin & 0x7FF
    column = layout.column[key] + np.floor(
        (block.xpos - layout.position[key].astype(np.float32)).astype(float) / layout.step + 0.5
    ).astype(int)
    offset = (block.lam.astype(float) - layout.lambda_min) / layout.dlambda
    own = np.floor(offset + 0.5)
    for iy in range(layout.ny):
        for ix in range(layout.nx):
            rows = good & (column == ix) & (np.abs(own - iy) <= 1)
            if rows.any():
                u = np.abs(offset[rows] - iy)
                near = u < 1.25
                if near.any():
                    w = ((1.25 - u[near]) / (1.25 * np.maximum(u[near], 1e-12))) ** 2
                    image[iy, ix] = np.sum(w * block.data[rows][near]) / np.sum(w)
                else:
                    image[iy, ix] = block.data[rows].mean()
    return image


@pytest.mark.parametrize(("step", "dlambda"), [(1.0, 1.25), (0.7, 1.0), (2.0, 2.5), (1.0, 0.6)])
def test_values(step, dlambda):
    block = table()
    layout = layout_of(block, step, dlambda)
    image = stacked_slab([source(block)], layout, 0, layout.ny)
    np.testing.assert_allclose(image, slow_image(block, layout), rtol=1e-6)
    assert (image != 0).any()


@pytest.mark.law
def test_neither_slabs_nor_threads_matter(tmp_path):
    blocks = [table(1), table(2)]
    layout = stacked_layout(limits_of(blocks), 1.0, (6000.0, 6016.0), 1.25)
    sources = [source(block) for block in blocks]
    whole = stacked_slab(sources, layout, 0, layout.ny)
    for height in (1, 3, 5):
        parts = [
            stacked_slab(sources, layout, first, min(first + height, layout.ny))
            for first in range(0, layout.ny, height)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    write_stacked(
        tmp_path / "a.fits", primary(), sources, layout, FLUX, rows=432, team=Threads(3), memory_bytes=1 << 15
    )
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus["DATA"].data, whole)


@pytest.mark.law
def test_a_constant_stays_constant():
    block = table(constant=7.5)
    layout = layout_of(block)
    image = stacked_slab([source(block)], layout, 0, layout.ny)
    np.testing.assert_allclose(image[image != 0], 7.5, rtol=1e-6)


def test_cosmic_rays_are_left_out():
    block = table()
    block.data[30] = 1e6
    hit = np.zeros(len(block), dtype=bool)
    hit[30] = True
    layout = layout_of(block)
    image = stacked_slab([source(block, lambda rows: hit[rows])], layout, 0, layout.ny)
    assert image.max() < 100.0
    block.dq[:] = 0
    assert stacked_slab([source(block)], layout, 0, layout.ny).max() > 1e5


def test_layout():
    block = table(slices=((12, 1), (3, 9), (3, 5)))
    layout = layout_of(block)
    order = [layout.column[3 << 6 | 5], layout.column[3 << 6 | 9], layout.column[12 << 6 | 1]]
    assert order == sorted(order)
    assert order[0] == 0
    assert layout.nx >= 18
    assert (layout.column >= 0).sum() == 3
    limits = SliceLimits()
    for part in np.array_split(np.arange(len(block)), 5):
        limits.add(block.xpos[part], block.origin[part])
    np.testing.assert_array_equal(stacked_layout(limits, 1.0, (6000.0, 6010.0), 1.25).column, layout.column)


def test_column_width():
    assert column_step(0.2 / 3600, 0.0, celestial=True) * 3600 == pytest.approx(0.24)
    assert column_step(0.2 / 3600, 0.5, celestial=True) * 3600 == pytest.approx(0.5)
    assert column_step(0.2 / 3600, 0.5, celestial=True, in_degrees=True) == 0.5
    assert column_step(1.0, 0.0, celestial=False) == 1.0
    assert column_step(1.0, 2.0, celestial=False) == 2.0


@pytest.mark.golden
def test_golden_image(tmp_path):
    folder = golden_set("scipost_basic")
    combined = open_golden(folder / "out_default" / "PIXTABLE_COMBINED.fits")
    golden = open_golden(folder / "out_default" / "OBJECT_RESAMPLED.fits")["DATA"]

    def column(name):
        values = combined[name].data[:, 0]
        return values.astype(values.dtype.newbyteorder("="))

    names = ("xpos", "ypos", "lambda", "data", "dq", "stat", "origin")
    block = Block(*(column(name) for name in names), np.arange(len(combined["xpos"].data)))
    # first row norm of the solution of this set, turned by -25 degrees
    scale = 0.20023668639285963 / 3600
    layout = layout_of(block, column_step(scale, 0.0, celestial=True))
    write_stacked(tmp_path / "a.fits", primary(), [source(block)], layout, FLUX, rows=len(block))
    with fits.open(tmp_path / "a.fits") as hdus:
        np.testing.assert_array_equal(hdus["DATA"].data, golden.data)
        assert_same_cards(hdus["DATA"].header, golden.header)


@pytest.mark.parametrize(("step", "dlambda", "name"), [(1e-300, 1.25, "dx"), (1.0, 1e-300, "dlambda")])
def test_steps_that_no_image_can_have(step, dlambda, name):
    with pytest.raises(ParameterError, match=f"{name}: a step of 1e-300 is too small"):
        stacked_layout(limits_of([table()]), step, (6000.0, 6016.0), dlambda)
