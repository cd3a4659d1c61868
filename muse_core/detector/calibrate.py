# SPDX-License-Identifier: BSD-3-Clause
"""Raw frame to calibrated image: saturation, overscan, trimming, bias, gain, dark and flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from muse_core.detector.overscan import (
    LEVEL_CHECK_SIGMA,
    OverscanStats,
    RejectPlan,
    VerticalModel,
    fit_vertical,
    overscan_stats,
)
from muse_core.detector.plan import OverscanPlan
from muse_core.detector.quadrants import Quadrant
from muse_core.detector.tables import BadPixels
from muse_core.framework.errors import InputError
from muse_core.framework.kernels import njit

Raw = npt.NDArray[np.uint16]
Image = npt.NDArray[np.float32]
Flags = npt.NDArray[np.int32]
Planes = tuple[Image, Flags, Image]

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


@njit(cache=True, nogil=True)
def count_saturated(raw: np.ndarray) -> int:
    """Number of raw values (uint16[ny, nx]) that are zero or above the saturation limit."""
    n = 0
    for y in range(raw.shape[0]):
        for x in range(raw.shape[1]):
            if raw[y, x] > SATURATION or raw[y, x] == 0:
                n += 1
    return n


def _window_flags(raw: Raw, window: tuple[slice, slice], bad: Sequence[BadPixels]) -> Flags:
    part = raw[window]
    dq = np.where((part > SATURATION) | (part == 0), np.int32(DQ_SATURATED), np.int32(0))
    ys, xs = window
    for table in bad:
        y, x = table.y - 1, table.x - 1
        inside = (y >= ys.start) & (y < ys.stop) & (x >= xs.start) & (x < xs.stop)
        np.bitwise_or.at(dq, (y[inside] - ys.start, x[inside] - xs.start), table.status[inside])
    return dq


def fit_exposure(
    raw: Raw,
    quadrants: Sequence[Quadrant],
    bad: Sequence[BadPixels],
    plan: OverscanPlan,
    bias_levels: Mapping[int, OverscanStats] | None = None,
    dark_scale: float = 0.0,
) -> ExposureModel:
    """Measure the overscan of a raw frame and settle its correction.

    Parameters
    ----------
    raw : uint16[ny, nx]
        Untrimmed frame.
    quadrants : sequence of Quadrant
    bad : sequence of BadPixels
    plan : OverscanPlan
        From the recipe's parameters.
    bias_levels : mapping of int to OverscanStats, optional
        Overscan of the master bias; without it no check and no shift.
    dark_scale : float
        Exposure time over that of the dark.

    Raises
    ------
    InputError
        When the level is off by more than 100 sigma after a polynomial correction.
    """
    models: list[QuadrantModel] = []
    notes: list[str] = []
    reject, correct, sigma, ignore = plan.reject, plan.correct, plan.sigma, plan.ignore
    smallest = min(min(q.nx, q.ny) for q in quadrants)
    if reject.method == "dcr" and (reject.xbox > smallest or reject.ybox > min(quadrants[0].overscan)):
        # measured against 2.8.7: nothing is rejected in both windows when the box does not fit
        notes.append(f"dcr boxes of {reject.xbox} x {reject.ybox} pixels do not fit, nothing rejected")
        reject = RejectPlan("none")
    for q in quadrants:
        if ignore < 0 or ignore >= min(q.overscan):
            raise InputError(
                "", f"ovscignore={ignore}", expected=f"less than the overscan of {min(q.overscan)} pixels"
            )
        horizontal, vertical = q.horizontal(ignore), q.vertical(ignore)
        hvalues, vvalues = raw[horizontal].astype(np.float64), raw[vertical].astype(np.float64)
        hflags, vflags = _window_flags(raw, horizontal, bad), _window_flags(raw, vertical, bad)
        stats = overscan_stats(hvalues, hflags, vvalues, vflags, reject)
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
                    raise InputError("", text)
                notes.append(text)
        models.append(QuadrantModel(q, stats, model, shift, extra))
    return ExposureModel(tuple(models), dark_scale, int(count_saturated(raw)), tuple(bad), tuple(notes))


@njit(cache=True, nogil=True, error_model="numpy")
def _subtract_bias(
    raw: np.ndarray,
    zero: float,
    shift: float,
    extra: float,
    gain: float,
    bias: np.ndarray,
    bias_var: np.ndarray,
    signal: np.ndarray,
    variance: np.ndarray,
) -> None:
    for i in range(signal.size):
        plain = np.float32(np.float32(raw[i]) - zero)
        photons = np.float32(plain - bias[i])
        photons = photons if photons > np.float32(0.0) else np.float32(0.0)
        noise = np.float32(np.float32(photons / gain + bias_var[i]) + extra)
        signal[i] = np.float32(np.float32(np.float32(plain + shift) - bias[i]) * gain)
        variance[i] = np.float32(noise * (gain * gain))


@njit(cache=True, nogil=True, error_model="numpy")
def _subtract_dark(
    signal: np.ndarray, variance: np.ndarray, scale: float, dark: np.ndarray, dark_var: np.ndarray
) -> None:
    for i in range(signal.size):
        # measured against 2.8.7: all in single precision
        signal[i] = np.float32(signal[i] - np.float32(np.float32(scale) * dark[i]))
        variance[i] = np.float32(variance[i] + scale * scale * dark_var[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _divide_flat(signal: np.ndarray, variance: np.ndarray, flat: np.ndarray, flat_var: np.ndarray) -> None:
    for i in range(signal.size):
        f = np.float64(flat[i]) if flat[i] != 0 else np.nan
        before = np.float64(signal[i])
        signal[i] = np.float32(before / f)
        variance[i] = np.float32((variance[i] + before * before * flat_var[i] / (f * f)) / (f * f))


@njit(cache=True, nogil=True)
def _add_flags(dq: np.ndarray, more: np.ndarray) -> None:
    for i in range(dq.size):
        dq[i] |= more[i]


@njit(cache=True, nogil=True)
def _flag(
    raw: np.ndarray, signal: np.ndarray, variance: np.ndarray, bias_q: np.ndarray, dq: np.ndarray
) -> None:
    for i in range(signal.size):
        saturated = (raw[i] > np.uint16(SATURATION)) | (raw[i] == np.uint16(0))
        # a flat of zero ends here, too
        usable = (abs(signal[i]) < np.float32(np.inf)) & (abs(variance[i]) < np.float32(np.inf))
        flag = bias_q[i] | (np.int32(DQ_SATURATED) if saturated else np.int32(0))
        dq[i] = flag | (np.int32(0) if usable else np.int32(DQ_NOT_FINITE))


@njit(cache=True, nogil=True)
def _keep_finite(signal: np.ndarray, variance: np.ndarray, data: np.ndarray, stat: np.ndarray) -> None:
    for i in range(signal.size):
        usable = (abs(signal[i]) < np.float32(np.inf)) & (abs(variance[i]) < np.float32(np.inf))
        data[i] = signal[i] if usable else np.float32(0.0)
        stat[i] = variance[i] if usable else np.float32(0.0)


@njit(cache=True, nogil=True)
def _calibrate(
    raw: np.ndarray, raw_y: int, raw_x: int, level: np.ndarray, shift: float, extra: float, gain: float,
    scale: float, bias: np.ndarray, bias_var: np.ndarray, bias_q: np.ndarray, dark: np.ndarray,
    dark_var: np.ndarray, dark_q: np.ndarray, flat: np.ndarray, flat_var: np.ndarray, flat_q: np.ndarray,
    y0: int, x0: int, ny: int, nx: int, data: np.ndarray, stat: np.ndarray, dq: np.ndarray,
) -> None:  # fmt: skip
    """Calibrate ``ny`` x ``nx`` pixels: from (raw_y, raw_x) of the raw frame to (y0, x0) of the band.

    ``dark`` and ``flat`` have no rows if there is none. Row by row in steps with few arrays and no branch:
    only such loops run in vector registers.
    """
    has_dark = dark.shape[0] > 0
    has_flat = flat.shape[0] > 0
    signal = np.empty(nx, np.float32)
    variance = np.empty(nx, np.float32)
    end = x0 + nx
    for j in range(ny):
        y = y0 + j
        values = raw[raw_y + j, raw_x : raw_x + nx]
        flags = dq[y, x0:end]
        _subtract_bias(
            values, level[j], shift, extra, gain, bias[y, x0:end], bias_var[y, x0:end], signal, variance
        )
        if has_dark:
            _subtract_dark(signal, variance, scale, dark[y, x0:end], dark_var[y, x0:end])
        if has_flat:
            _divide_flat(signal, variance, flat[y, x0:end], flat_var[y, x0:end])
        _flag(values, signal, variance, bias_q[y, x0:end], flags)
        if has_flat:
            _add_flags(flags, flat_q[y, x0:end])
        if has_dark:
            _add_flags(flags, dark_q[y, x0:end])
        _keep_finite(signal, variance, data[y, x0:end], stat[y, x0:end])


def apply_exposure(
    raw: Raw,
    model: ExposureModel,
    rows: tuple[int, int],
    bias: Planes,
    dark: Planes | None,
    flat: Planes | None,
    data: Image,
    stat: Image,
    dq: Flags,
    raw_first: int = 0,
) -> None:
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
        Data (float32), flags (int32), variance (float32) of these rows; the dark may be missing, and the flat
        field where it is applied later (`divide_by_flat`).
    data, stat, dq : float32, float32, int32 arrays of these rows
        Written; unit count and count**2.
    raw_first : int
        Row of the raw frame that ``raw`` begins with.
    """
    first, last = rows
    none = np.zeros((0, bias[0].shape[1]), np.float32)
    dark = dark or (none, none.astype(np.int32), none)
    flat = flat or (none, none.astype(np.int32), none)
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
        _calibrate(
            raw, raw_rows.start - raw_first, dx.start, level, m.shift, m.extra_variance, q.gain,
            model.dark_scale,
            bias[0], bias[2], bias[1], dark[0], dark[2], dark[1], flat[0], flat[2], flat[1],
            y0 - first, tx.start, y1 - y0, q.nx, data, stat, dq,
        )  # fmt: skip
        for table in model.bad:
            y, x = table.y - 1 - raw_rows.start, table.x - 1 - dx.start
            inside = (y >= 0) & (y < y1 - y0) & (x >= 0) & (x < q.nx)
            np.bitwise_or.at(dq, (y[inside] + y0 - first, x[inside] + tx.start), table.status[inside])


@njit(cache=True, nogil=True)
def _flatten(
    data: np.ndarray,
    stat: np.ndarray,
    dq: np.ndarray,
    flat: np.ndarray,
    flat_q: np.ndarray,
    flat_var: np.ndarray,
) -> None:
    for y in range(data.shape[0]):
        _divide_flat(data[y], stat[y], flat[y], flat_var[y])
        for x in range(data.shape[1]):
            usable = (abs(data[y, x]) < np.float32(np.inf)) & (abs(stat[y, x]) < np.float32(np.inf))
            dq[y, x] |= flat_q[y, x] | (np.int32(0) if usable else np.int32(DQ_NOT_FINITE))
        _keep_finite(data[y], stat[y], data[y], stat[y])


def divide_by_flat(data: Image, stat: Image, dq: Flags, flat: Planes) -> None:
    """Divide calibrated rows by those of the flat field, in place; the same as in `apply_exposure`.

    Parameters
    ----------
    data, stat : float32[n, nx]; dq : int32[n, nx]
    flat : tuple of arrays
        Data (float32), flags (int32), variance (float32).
    """
    _flatten(data, stat, dq, *flat)
