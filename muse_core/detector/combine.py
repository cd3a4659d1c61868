# SPDX-License-Identifier: BSD-3-Clause
"""Combine calibrated exposures pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muse_core.framework.errors import InputError
from muse_core.framework.kernels import njit

DQ_TOO_FEW = 0x80000  # ours: minmax had no more good values than it was told to reject
METHODS = {"average": 0, "median": 1, "minmax": 2, "sigclip": 3}


@dataclass(frozen=True)
class CombinePlan:
    """Parameters ``combine``, ``nlow``, ``nhigh``, ``nkeep``, ``lsigma``, ``hsigma``."""

    method: str = "sigclip"
    nlow: int = 1
    nhigh: int = 1
    nkeep: int = 1
    lsigma: float = 3.0
    hsigma: float = 3.0


@njit(cache=True, nogil=True)
def _sort(values, variances, flags, n):
    for i in range(1, n):
        v, s, f = values[i], variances[i], flags[i]
        j = i - 1
        while j >= 0 and values[j] > v:
            values[j + 1], variances[j + 1], flags[j + 1] = values[j], variances[j], flags[j]
            j -= 1
        values[j + 1], variances[j + 1], flags[j + 1] = v, s, f


@njit(cache=True, nogil=True)
def _least_flagged(data, stat, dq, y, x, out, out_stat, out_dq):
    best = 0
    for k in range(1, data.shape[0]):
        # measured against 2.8.7: the numerically smallest flag wins, the first one if tied
        if np.uint32(dq[k, y, x]) < np.uint32(dq[best, y, x]):
            best = k
    out[y, x] = data[best, y, x]
    out_stat[y, x] = stat[best, y, x]
    out_dq[y, x] = dq[best, y, x]


@njit(cache=True, nogil=True, error_model="numpy")
def _clip_three(data, stat, dq, lsigma, hsigma, out, out_stat, out_dq):
    """Sigma clipping of three exposures, as if no pixel were flagged.

    ``out_dq`` becomes -1 where a flag is set or nothing is left: these pixels are for `combine_kernel`. The
    usual case, without a branch, so that several pixels are done at a time.
    """
    for y in range(data.shape[1]):
        for x in range(data.shape[2]):
            a, b, c = np.float64(data[0, y, x]), np.float64(data[1, y, x]), np.float64(data[2, y, x])
            low, high = min(min(a, b), c), max(max(a, b), c)
            centre = max(min(a, b), min(max(a, b), c))
            spread = ((centre - low) + (high - centre)) / 3
            lower, upper = centre - lsigma * spread, centre + hsigma * spread
            use_a = 1.0 if (lower <= a) & (a <= upper) else 0.0
            use_b = 1.0 if (lower <= b) & (b <= upper) else 0.0
            use_c = 1.0 if (lower <= c) & (c <= upper) else 0.0
            used = use_a + use_b + use_c
            total = use_a * a + use_b * b + use_c * c
            variance = use_a * np.float64(stat[0, y, x]) + use_b * np.float64(stat[1, y, x])
            variance += use_c * np.float64(stat[2, y, x])
            divisor = max(used, 1.0)
            out[y, x] = np.float32(total / divisor)
            out_stat[y, x] = np.float32(variance / (divisor * divisor))
            clean = ((dq[0, y, x] | dq[1, y, x] | dq[2, y, x]) == 0) & (used > 0)
            out_dq[y, x] = 0 if clean else -1


@njit(cache=True, nogil=True)
def combine_kernel(
    data, stat, dq, method, nlow, nhigh, nkeep, lsigma, hsigma, only_marked, out, out_stat, out_dq
):
    """Combine ``n`` exposures.

    Parameters
    ----------
    data, stat : float32[n, ny, nx]
    dq : int32[n, ny, nx]
    method : int
        Value of `METHODS`.
    only_marked : bool
        Only pixels with ``out_dq`` -1.
    out, out_stat : float32[ny, nx], written
    out_dq : int32[ny, nx], written
    """
    n, ny, nx = data.shape
    values = np.empty(n)
    variances = np.empty(n)
    flags = np.empty(n, np.int32)
    for y in range(ny):
        for x in range(nx):
            if only_marked and out_dq[y, x] != -1:
                continue
            good = 0
            for k in range(n):
                if dq[k, y, x] == 0:
                    values[good] = data[k, y, x]
                    variances[good] = stat[k, y, x]
                    flags[good] = 0
                    good += 1
            if good == 0:
                _least_flagged(data, stat, dq, y, x, out, out_stat, out_dq)
                continue
            flag = np.int32(0)
            total = 0.0
            variance = 0.0
            used = 0
            if method == 0:
                used = good
                for k in range(good):
                    total += values[k]
                    variance += variances[k]
                total /= used
                variance /= used * used
            elif method == 1:
                _sort(values, variances, flags, good)
                half = good // 2
                if good % 2 == 1:
                    total, variance = values[half], variances[half]
                else:
                    # measured against 2.8.7: the two variances are added and not divided
                    total = 0.5 * (values[half - 1] + values[half])
                    variance = variances[half - 1] + variances[half]
            elif method == 2:
                have = good
                if good > nlow + nhigh:
                    for k in range(n):
                        if have >= nlow + nhigh + nkeep:
                            break
                        if dq[k, y, x] != 0:
                            values[have] = data[k, y, x]
                            variances[have] = stat[k, y, x]
                            flags[have] = dq[k, y, x]
                            flag |= dq[k, y, x]
                            have += 1
                    _sort(values, variances, flags, have)
                    used = have - nlow - nhigh
                    for k in range(nlow, have - nhigh):
                        total += values[k]
                        variance += variances[k]
                    total /= used
                    variance /= used * used
                else:
                    # the C pipeline writes an unflagged NaN here, which spoils the whole run
                    _least_flagged(data, stat, dq, y, x, out, out_stat, out_dq)
                    out_dq[y, x] |= DQ_TOO_FEW
                    continue
            else:
                _sort(values, variances, flags, good)
                half = good // 2
                centre = values[half] if good % 2 == 1 else 0.5 * (values[half - 1] + values[half])
                spread = 0.0
                for k in range(good):
                    spread += abs(values[k] - centre)
                spread /= good
                for k in range(good):
                    if centre - lsigma * spread <= values[k] <= centre + hsigma * spread:
                        total += values[k]
                        variance += variances[k]
                        used += 1
                if used > 0:
                    total /= used
                    variance /= used * used
                else:
                    total = centre
                    variance = variances[half]
            out[y, x] = np.float32(total)
            out_stat[y, x] = np.float32(variance)
            out_dq[y, x] = flag


def combine_images(data, stat, dq, plan: CombinePlan, out, out_stat, out_dq) -> None:
    """Combine images (see `combine_kernel` for the arrays)."""
    n = data.shape[0]
    if plan.method == "sigclip" and n < 3:
        raise InputError("", "combine=sigclip", expected="at least 3 images", found=n)
    if plan.method == "minmax" and plan.nlow + plan.nhigh >= n:
        raise InputError(
            "", f"nlow={plan.nlow}, nhigh={plan.nhigh}", expected="fewer than the images", found=n
        )
    usual = plan.method == "sigclip" and n == 3
    if usual:
        _clip_three(data, stat, dq, plan.lsigma, plan.hsigma, out, out_stat, out_dq)
    combine_kernel(
        data,
        stat,
        dq,
        METHODS[plan.method],
        plan.nlow,
        plan.nhigh,
        plan.nkeep,
        plan.lsigma,
        plan.hsigma,
        usual,
        out,
        out_stat,
        out_dq,
    )


@njit(cache=True, nogil=True)
def _fill_round(data, bad_y, bad_x, state, value):
    ny, nx = data.shape
    filled = 0
    for i in range(bad_y.size):
        y, x = bad_y[i], bad_x[i]
        if state[y, x] == 0:
            continue
        total = 0.0
        n = 0
        for yy in range(max(y - 1, 0), min(y + 2, ny)):
            for xx in range(max(x - 1, 0), min(x + 2, nx)):
                if state[yy, xx] == 0:
                    total += data[yy, xx]
                    n += 1
        if n > 0:
            value[i] = total / n
            filled += 1
        else:
            value[i] = np.nan
    for i in range(bad_y.size):
        y, x = bad_y[i], bad_x[i]
        if state[y, x] != 0 and not np.isnan(value[i]):
            data[y, x] = np.float32(value[i])
            state[y, x] = 0
    return filled


def interpolate_bad(data: np.ndarray, dq: np.ndarray) -> None:
    """Replace flagged pixels by the mean of their good neighbours, ring by ring; flags stay.

    Parameters
    ----------
    data : float32[ny, nx]
        Changed in place.
    dq : int32[ny, nx]
        Flags; 0 is good.
    """
    bad_y, bad_x = np.nonzero(dq)
    if bad_y.size == 0 or bad_y.size == dq.size:
        return
    state = (dq != 0).astype(np.uint8)
    value = np.empty(bad_y.size)
    while _fill_round(data, bad_y, bad_x, state, value):
        left = state[bad_y, bad_x] != 0
        bad_y, bad_x = bad_y[left], bad_x[left]
        if bad_y.size == 0:
            break
