# SPDX-License-Identifier: BSD-3-Clause
"""Smallest and largest coordinates of the rows of an exposure after the steps that move them.

The limits must be exact: grids and headers are made from them. But only few rows can be extreme. The zone map
knows the box in x, y and wavelength in which each group of rows lies; where the steps take the box bounds
where its rows can be, and only the rows of boxes that reach far enough out are read and moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.exposure import Exposure
from muse_core.data.kernels import finite_limits
from muse_core.framework.team import in_order

Move = Callable[[Block], object]
Floats = npt.NDArray[np.float64]

_BOXES_AT_ONCE = 512
_FIRST_BOXES = 16
_SAFETY = 3.0
_MAX_BEND = 0.25
_ROUNDING = 1e-6  # float32 positions lose a tenth of this in the few steps there are


@dataclass(frozen=True)
class RowLimits:
    """Smallest and largest coordinates of all rows, as stored (float32)."""

    x: tuple[float, float]
    y: tuple[float, float]
    lam: tuple[float, float]
    ifu: tuple[int, int]
    slices: tuple[int, int]

    def shifted(self, dx: float, dy: float) -> RowLimits:
        """Return the limits in full coordinates, rounded to float32 as the C recipe stores them."""

        def full(pair: tuple[float, float], shift: float) -> tuple[float, float]:
            return float(np.float32(pair[0] + shift)), float(np.float32(pair[1] + shift))

        return replace(self, x=full(self.x, dx), y=full(self.y, dy))


def join_limits(parts: list[RowLimits]) -> RowLimits:
    """Return the limits of several tables together."""

    def span(pairs: list) -> tuple:
        return min(low for low, _ in pairs), max(high for _, high in pairs)

    return RowLimits(
        span([p.x for p in parts]),
        span([p.y for p in parts]),
        span([p.lam for p in parts]),
        span([p.ifu for p in parts]),
        span([p.slices for p in parts]),
    )


def limits_of_good_rows(block: Block) -> RowLimits | None:
    """Return the limits of the rows of a block that are not flagged, None without any."""
    good = block.dq == 0
    if not good.any():
        return None

    def span(values: npt.NDArray) -> tuple[float, float]:
        return float(np.nanmin(values[good])), float(np.nanmax(values[good]))

    numbers = [
        (int(v[good].min()), int(v[good].max())) for v in (block.origin >> 6 & 0x1F, block.origin & 0x3F)
    ]
    return RowLimits(span(block.xpos), span(block.ypos), span(block.lam), *numbers)


def find_limits(exposure: Exposure, moves: Sequence[Move], threads: int = 1, *, smooth: bool) -> RowLimits:
    """Find the limits of the rows inside the wavelength cut.

    Parameters
    ----------
    moves : sequence of callable (Block) -> None
        steps that change positions and wavelengths, the latter by factors only
    smooth : bool
        positions before and after the steps are continuous functions of those in the files (not so for the
        angles of polar coordinates); False: all rows are read
    """
    boxes = _Boxes.of(exposure)
    numbers = boxes.numbers
    ifus = int(numbers[:, 0].min()), int(numbers[:, 1].max())
    slices = int(numbers[:, 2].min()), int(numbers[:, 3].max())
    lam = boxes.limits[:, 4].min(), boxes.limits[:, 5].max()
    if not moves:
        x = boxes.limits[:, 0].min(), boxes.limits[:, 1].max()
        y = boxes.limits[:, 2].min(), boxes.limits[:, 3].max()
    else:
        ends = _points(np.zeros(2, np.float32), np.zeros(2, np.float32), np.array(lam, np.float32))
        for move in moves:
            move(ends)
        lam = ends.lam[0], ends.lam[1]
        found = _moved_limits(exposure, boxes, moves, threads, smooth=smooth)
        x, y = (found[0], found[1]), (found[2], found[3])
    return RowLimits(_pair(x), _pair(y), _pair(lam), ifus, slices)


def _pair(values: tuple) -> tuple[float, float]:
    return float(values[0]), float(values[1])


@dataclass(frozen=True)
class _Boxes:
    """Boxes with rows of all files: file, number in the file, limits, numbers of IFUs and slices."""

    file: npt.NDArray[np.int64]
    box: npt.NDArray[np.int64]
    limits: npt.NDArray[np.float32]
    numbers: npt.NDArray[np.int32]

    @classmethod
    def of(cls, exposure: Exposure) -> _Boxes:
        used = [np.flatnonzero(zone.found) for zone in exposure.zones]
        return cls(
            np.repeat(np.arange(len(used)), [box.size for box in used]),
            np.concatenate(used),
            np.concatenate([zone.limits[box] for zone, box in zip(exposure.zones, used)]),
            np.concatenate([zone.numbers[box] for zone, box in zip(exposure.zones, used)]),
        )


def _moved_limits(
    exposure: Exposure, boxes: _Boxes, moves: Sequence[Move], threads: int, *, smooth: bool
) -> Floats:
    """Return the smallest and largest x, the smallest and largest y after the steps."""
    outer = _outer_bounds(boxes, moves, threads) if smooth else None
    if outer is None:
        return _extremes(exposure, boxes, np.arange(boxes.box.size), moves, threads)
    # first the boxes that reach farthest out, then those that reach beyond what was found in them
    outwards = outer * (-1.0, 1.0, -1.0, 1.0)
    n = min(_FIRST_BOXES, boxes.box.size)
    first = np.unique(np.argpartition(outwards, -n, axis=0)[-n:])
    best = _extremes(exposure, boxes, first, moves, threads)
    beyond = np.asarray((outwards > best * (-1.0, 1.0, -1.0, 1.0)).any(axis=1))
    beyond[first] = False
    rest = np.flatnonzero(beyond)
    return _outermost(np.stack([best, _extremes(exposure, boxes, rest, moves, threads)]))


def _outermost(values: Floats) -> Floats:
    low, high = values.min(axis=0), values.max(axis=0)
    return np.array([low[0], high[1], low[2], high[3]])


def _extremes(
    exposure: Exposure,
    boxes: _Boxes,
    chosen: npt.NDArray[np.int64],
    moves: Sequence[Move],
    threads: int,
) -> Floats:
    """Return the limits in x and y of the rows of some boxes (increasing)."""
    jobs = []
    for file in np.unique(boxes.file[chosen]):
        of_file = boxes.box[chosen[boxes.file[chosen] == file]]
        jobs += [(int(file), of_file[k : k + _BOXES_AT_ONCE]) for k in range(0, of_file.size, _BOXES_AT_ONCE)]

    def one(job: tuple[int, npt.NDArray[np.int64]]) -> Floats:
        def work(part: Block) -> None:
            for move in moves:
                move(part)

        block = exposure.read_boxes(*job, work=work)
        return np.array([*finite_limits(block.xpos), *finite_limits(block.ypos)], np.float64)

    nothing = np.array([np.inf, -np.inf, np.inf, -np.inf])
    return _outermost(np.stack([nothing, *in_order(one, iter(jobs), threads)]))


def _outer_bounds(boxes: _Boxes, moves: Sequence[Move], threads: int) -> Floats | None:
    """Return bounds (n, 4) on x and y of the moved rows of each box, or None if none can be trusted.

    The steps are applied to 27 points of each box: its corners, and points half way between. What lies in
    the box can be beyond the corners only as far as the steps bend straight lines, which the points half way
    show.
    Boxes with unknown positions (not a number) are without bounds.
    """
    x_low, x_high, y_low, y_high = boxes.limits[:, :4].T.astype(np.float64)
    known = (x_low <= x_high) & (y_low <= y_high)
    if not known.any():
        return None
    starts = range(0, boxes.box.size, _BOXES_AT_ONCE * 8)
    parts = in_order(
        lambda start: _box_bounds(boxes.limits[start : start + _BOXES_AT_ONCE * 8], moves),
        iter(starts),
        threads,
    )
    low, high, bend = (np.concatenate(columns) for columns in zip(*parts))
    if not np.isfinite([low[known], high[known], bend[known]]).all():
        return None
    low[~known], high[~known] = np.nan, np.nan
    span_in = (x_high[known].max() - x_low[known].min(), y_high[known].max() - y_low[known].min())
    size_in = (np.abs([x_low[known], x_high[known]]).max(), np.abs([y_low[known], y_high[known]]).max())
    if min(span_in) <= 0.0:
        return None
    span_out = np.nanmax(high, axis=0) - np.nanmin(low, axis=0)
    size_out = np.fmax(np.nanmax(np.abs(low), axis=0), np.nanmax(np.abs(high), axis=0))
    rounding = _ROUNDING * (size_out + span_out.max() * max(np.divide(size_in, span_in)))
    if (bend[known] > _MAX_BEND * (high[known] - low[known]) + rounding).any():
        return None
    low, high = low - _SAFETY * bend - rounding, high + _SAFETY * bend + rounding
    low[~known], high[~known] = -np.inf, np.inf
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)


def _box_bounds(limits: npt.NDArray[np.float32], moves: Sequence[Move]) -> tuple[Floats, Floats, Floats]:
    """Return the smallest and largest x and y of 27 points of each box, and how far lines between are bent.

    Parameters
    ----------
    limits : float32[n, 6]

    Returns
    -------
    low, high, bend : float64[n, 2]
    """
    low, high = limits[:, 0::2], limits[:, 1::2]
    with np.errstate(invalid="ignore"):  # boxes without limits have inf and -inf
        nodes = np.stack([low, low + (high - low) / 2, high], axis=2)  # box, coordinate, place
    shape = (limits.shape[0], 3, 3, 3)
    axes = (nodes[:, 0, :, None, None], nodes[:, 1, None, :, None], nodes[:, 2, None, None, :])
    block = _points(*(np.broadcast_to(axis, shape).reshape(-1).copy() for axis in axes))
    for move in moves:
        move(block)
    values = np.stack([block.xpos, block.ypos]).astype(np.float64).reshape(2, *shape)
    flat = values.reshape(2, shape[0], 27)
    bend = np.zeros((2, shape[0]))
    with np.errstate(invalid="ignore"):
        for axis in (2, 3, 4):
            first, middle, last = (values.take(k, axis=axis) for k in range(3))
            bend += np.abs(middle - (first + last) / 2).max(axis=(2, 3))
    return flat.min(axis=2).T, flat.max(axis=2).T, bend.T


def _points(x: npt.NDArray, y: npt.NDArray, lam: npt.NDArray) -> Block:
    """Return rows at given coordinates, without data."""
    n = x.size
    nothing, integers = np.empty(0, np.float32), np.zeros(n, np.int32)
    return Block(x, y, lam, nothing, np.empty(0, np.int32), nothing, integers, np.arange(n))
