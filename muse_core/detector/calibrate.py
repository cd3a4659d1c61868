# SPDX-License-Identifier: BSD-3-Clause
"""Raw frame to calibrated image: saturation, overscan, trimming, bias, gain, dark and flat."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from .overscan import (
    LEVEL_CHECK_SIGMA,
    CorrectPlan,
    OverscanStats,
    RejectPlan,
    VerticalModel,
    fit_vertical,
    overscan_stats,
)
from .quadrants import Quadrant
from .tables import BadPixels

SATURATION = 65500  # adu; above it, and at or below zero, a raw value is unusable
DQ_SATURATED = 0x1000
DQ_NOT_FINITE = 0x80000  # ours: a zero flat or NaN in a master


@dataclass(frozen=True)
class QuadrantModel:
    """What is known of one quadrant of one exposure before its pixels are calibrated."""

    quadrant: Quadrant
    stats: OverscanStats
    vertical: VerticalModel | None
    shift: float = 0.0  # adu added to the data (overscan="offset")
    extra_variance: float = 0.0  # adu**2


@dataclass(frozen=True)
class ExposureModel:
    """Everything `apply_exposure` needs besides pixels: quadrants, dark scale, bad pixels."""

    quadrants: tuple[QuadrantModel, ...]
    dark_scale: float
    nsaturated: int
    bad: tuple[BadPixels, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the trimmed image."""
        q = self.quadrants[0].quadrant
        return 2 * q.ny, 2 * q.nx


class LevelError(ValueError):
    """The overscan level of an exposure does not fit the one of its master bias."""


@njit(cache=True, nogil=True)
def count_saturated(raw):
    """Number of raw values (uint16[ny, nx]) that are zero or above the saturation limit."""
    n = 0
    for y in range(raw.shape[0]):
        for x in range(raw.shape[1]):
            if raw[y, x] > SATURATION or raw[y, x] == 0:
                n += 1
    return n


def _window_flags(raw, window, bad) -> np.ndarray:
    part = raw[window]
    dq = np.where((part > SATURATION) | (part == 0), np.int32(DQ_SATURATED), np.int32(0))
    ys, xs = window
    for table in bad:
        y, x = table.y - 1, table.x - 1
        inside = (y >= ys.start) & (y < ys.stop) & (x >= xs.start) & (x < xs.stop)
        np.bitwise_or.at(dq, (y[inside] - ys.start, x[inside] - xs.start), table.status[inside])
    return dq


def fit_exposure(
    raw: np.ndarray,
    quadrants,
    bad,
    reject: RejectPlan,
    correct: CorrectPlan,
    sigma: float,
    ignore: int,
    bias_levels=None,
    dark_scale: float = 0.0,
) -> ExposureModel:
    """Measure the overscan of a raw frame and settle its correction.

    Parameters
    ----------
    raw : uint16[ny, nx]
        Untrimmed frame.
    quadrants : sequence of Quadrant
    bad : sequence of BadPixels
    reject, correct : RejectPlan, CorrectPlan
        From the parameters ``ovscreject`` and ``overscan``.
    sigma : float
        Parameter ``ovscsigma``.
    ignore : int
        Parameter ``ovscignore``.
    bias_levels : dict of int to OverscanStats, optional
        Overscan of the master bias; without it no check and no shift.
    dark_scale : float
        Exposure time over that of the dark.

    Raises
    ------
    LevelError
        When the level is off by more than 100 sigma after a polynomial correction.
    """
    models, notes = [], []
    smallest = min(min(q.nx, q.ny) for q in quadrants)
    if reject.method == "dcr" and (reject.xbox > smallest or reject.ybox > min(quadrants[0].overscan)):
        # measured against 2.8.7: nothing is rejected in both windows when the box does not fit
        notes.append(f"dcr boxes of {reject.xbox} x {reject.ybox} pixels do not fit, nothing rejected")
        reject = RejectPlan("none")
    for q in quadrants:
        if ignore < 0 or ignore >= min(q.overscan):
            raise ValueError(f"ovscignore={ignore} leaves nothing of an overscan of {min(q.overscan)} pixels")
        horizontal, vertical = q.horizontal(ignore), q.vertical(ignore)
        hvalues, vvalues = raw[horizontal].astype(np.float64), raw[vertical].astype(np.float64)
        hflags, vflags = _window_flags(raw, horizontal, bad), _window_flags(raw, vertical, bad)
        stats = overscan_stats(hvalues, hflags, vvalues, vflags, reject, ignore)
        model, shift, extra = None, 0.0, 0.0
        if correct.method == "vpoly":
            model = fit_vertical(vvalues, vflags, vertical[0].start, correct, sigma)
        if bias_levels is not None:
            level = bias_levels[q.number]
            if correct.method == "offset":
                shift = level.mean - stats.mean
                extra = (stats.stdev**2 + level.stdev**2) / q.gain
            limit = (LEVEL_CHECK_SIGMA if correct.method == "vpoly" else abs(sigma)) * level.stdev
            if correct.method != "offset" and abs(stats.mean - level.mean) > limit:
                text = (
                    f"overscan of quadrant {q.number} is {stats.mean:.2f} adu, of the bias {level.mean:.2f} "
                    f"+/- {level.stdev:.2f}: more than {limit:.2f} apart"
                )
                if correct.method == "vpoly":
                    raise LevelError(text)
                notes.append(text)
        models.append(QuadrantModel(q, stats, model, shift, extra))
    return ExposureModel(tuple(models), dark_scale, int(count_saturated(raw)), tuple(bad), tuple(notes))


@njit(cache=True, nogil=True)
def _calibrate(
    raw, level, shift, extra, gain, scale, bias, bias_var, bias_q, dark, dark_var, dark_q, flat, flat_var,
    flat_q, data, stat, dq,
):  # fmt: skip
    has_dark = dark.shape[0] > 0
    for y in range(raw.shape[0]):
        for x in range(raw.shape[1]):
            value = raw[y, x]
            flag = bias_q[y, x] | flat_q[y, x]
            if value > SATURATION or value == 0:
                flag |= DQ_SATURATED
            plain = np.float32(np.float32(value) - level[y])
            signal = np.float32(plain - bias[y, x])
            variance = np.float32(max(signal, np.float32(0.0)) / gain + bias_var[y, x])
            variance = np.float32(variance + extra)
            signal = np.float32(np.float32(plain + shift) - bias[y, x])
            signal = np.float32(signal * gain)
            variance = np.float32(variance * (gain * gain))
            if has_dark:
                signal = np.float32(signal - scale * dark[y, x])
                variance = np.float32(variance + scale * scale * dark_var[y, x])
                flag |= dark_q[y, x]
            f = np.float64(flat[y, x])
            if f != 0.0:
                before = np.float64(signal)
                signal = np.float32(before / f)
                variance = np.float32((variance + before * before * flat_var[y, x] / (f * f)) / (f * f))
            else:
                signal = np.float32(np.nan)
            if not (np.isfinite(signal) and np.isfinite(variance)):
                signal = np.float32(0.0)
                variance = np.float32(0.0)
                flag |= DQ_NOT_FINITE
            data[y, x] = signal
            stat[y, x] = variance
            dq[y, x] = flag


def apply_exposure(raw, model: ExposureModel, rows, bias, dark, flat, data, stat, dq) -> None:
    """Calibrate some rows of the trimmed image.

    Values that come out as NaN or infinite (a flat of zero, NaN in a master) are set to zero and flagged
    0x80000; the C pipeline lets them through.

    Parameters
    ----------
    raw : uint16[ny, nx]
        Untrimmed frame.
    model : ExposureModel
        From `fit_exposure`.
    rows : tuple of int
        First and last (exclusive) row of the trimmed image.
    bias, dark, flat : tuple of arrays or None
        Data (float32), flags (int32), variance (float32) of these rows; only the dark may be missing.
    data, stat, dq : float32, float32, int32 arrays of these rows
        Written; unit count and count**2.
    """
    first, last = rows
    if dark is None:
        none = np.zeros((0, bias[0].shape[1]), np.float32)
        dark = (none, none.astype(np.int32), none)
    for m in model.quadrants:
        q = m.quadrant
        ty, tx = q.trimmed
        y0, y1 = max(first, ty.start), min(last, ty.stop)
        if y0 >= y1:
            continue
        dy, dx = q.data
        raw_rows = slice(dy.start + y0 - ty.start, dy.start + y1 - ty.start)
        if m.vertical is None:
            level = np.zeros(y1 - y0)
        else:
            start = raw_rows.start - m.vertical.first
            level = m.vertical.level[start : start + y1 - y0]
        part = (slice(y0 - first, y1 - first), tx)
        _calibrate(
            raw[raw_rows, dx],
            level,
            m.shift,
            m.extra_variance,
            q.gain,
            model.dark_scale,
            bias[0][part],
            bias[2][part],
            bias[1][part],
            dark[0][part],
            dark[2][part],
            dark[1][part],
            flat[0][part],
            flat[2][part],
            flat[1][part],
            data[part],
            stat[part],
            dq[part],
        )
        for table in model.bad:
            y, x = table.y - 1 - raw_rows.start, table.x - 1 - dx.start
            inside = (y >= 0) & (y < y1 - y0) & (x >= 0) & (x < q.nx)
            np.bitwise_or.at(dq, (y[inside] + y0 - first, x[inside] + tx.start), table.status[inside])
