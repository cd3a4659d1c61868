# SPDX-License-Identifier: BSD-3-Clause
"""One Gaussian on a constant, fitted to pixels of a column: the fit made 200 000 times per IFU."""

from __future__ import annotations

import math

from muse_core.arcs.gaussian_kernels import MOST_DAMPING, MOST_STEPS, NORM, PRECISION
from muse_core.arcs.linear_kernels import solve, take_step, try_step
from muse_core.framework.kernels import njit

CENTRE, AREA, BACK, SIGMA = range(4)
WORK = (11, 4)


@njit(cache=True, nogil=True, error_model="numpy")
def _sums(centre, area, back, sigma, y, weight, n, normal, rhs):
    """Chi square; normal equations of centre, area, background, sigma go to ``normal`` and ``rhs``."""
    inverse = 1.0 / sigma
    height = NORM * inverse
    chi = 0.0
    cc = gc = gg = bc = bg = bb = sc = sg = sb = ss = 0.0
    rc = rg = rb = rs = 0.0
    for j in range(n):
        w = weight[j]
        z = (j - centre) * inverse
        g = height * math.exp(-0.5 * z * z)
        peak = area * g * inverse
        of_centre = peak * z
        of_sigma = peak * (z * z - 1.0)
        residual = y[j] - back - area * g
        wr = w * residual
        wc = w * of_centre
        wg = w * g
        chi += wr * residual
        rc += wr * of_centre
        rg += wr * g
        rb += wr
        rs += wr * of_sigma
        cc += wc * of_centre
        gc += wc * g
        gg += wg * g
        bc += wc
        bg += wg
        bb += w
        sc += wc * of_sigma
        sg += wg * of_sigma
        sb += w * of_sigma
        ss += w * of_sigma * of_sigma
    normal[0, 0] = cc
    normal[1, 0] = gc
    normal[1, 1] = gg
    normal[2, 0] = bc
    normal[2, 1] = bg
    normal[2, 2] = bb
    normal[3, 0] = sc
    normal[3, 1] = sg
    normal[3, 2] = sb
    normal[3, 3] = ss
    rhs[0] = rc
    rhs[1] = rg
    rhs[2] = rb
    rhs[3] = rs
    return chi


@njit(cache=True, nogil=True, error_model="numpy")
def fit_single(p, free_width, y, weight, n, work):
    """Fit a Gaussian on a constant to values at 0, 1, 2, ... (Levenberg 1944, Marquardt 1963).

    Parameters
    ----------
    p : float64[4], updated
        Centre, area, background, sigma; at the start a guess.
    free_width : bool
        Whether sigma is fitted.
    y, weight : float64[n or more]
        Values and inverse variances; weight 0 leaves a value out.
    n : int
        Number of values.
    work : float64[WORK]
        For intermediate values.

    Returns
    -------
    float
        Error of the centre, from the covariance, not scaled with chi square; -1 if there are too few values
        or the fit does not settle.
    """
    free = 4 if free_width else 3
    used = 0
    for j in range(n):
        used += weight[j] > 0.0
    if used < free:
        return -1.0
    normal, matrix, rhs, step, trial = work[0:4], work[4:8], work[8], work[9], work[10]
    chi = _sums(p[0], p[1], p[2], p[3], y, weight, n, normal, rhs)
    damping = 1e-4
    settled = False
    trial[SIGMA] = p[SIGMA]
    for _ in range(MOST_STEPS):
        if not try_step(p, normal, rhs, damping, free, matrix, step, trial):
            return -1.0
        new = math.inf
        if trial[SIGMA] > 0.0:
            new = _sums(trial[0], trial[1], trial[2], trial[3], y, weight, n, matrix, step)
        if new <= chi:
            settled = chi - new <= PRECISION * chi
            take_step(p, normal, rhs, free, matrix, step, trial)
            chi = new
            damping = max(damping * 0.1, 1e-9)
        else:
            damping *= 10.0
            settled = damping > MOST_DAMPING
        if settled:
            break
    if not settled or not chi < math.inf:
        return -1.0
    for a in range(free):
        step[a] = 0.0
    step[CENTRE] = 1.0
    if not solve(normal, step, free):
        return -1.0
    return math.sqrt(step[CENTRE])
