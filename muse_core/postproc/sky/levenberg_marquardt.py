# SPDX-License-Identifier: BSD-3-Clause
"""Levenberg-Marquardt least squares with a trust region (J. J. More 1978, as in MINPACK's lmdif).

The sky-line fit of the C pipeline ends in one of many minima next to each other.  To end in the same one,
this optimiser takes the same steps: forward differences, internal scaling by column norms, step bound
factor 100, and one difference to MINPACK that was measured against 2.8.7: when chi-square rises, the step
bound shrinks by ``0.5 d / (d + 0.55 a)`` instead of ``0.5 d / (d + 0.5 a)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit

EPS = 2.220446049250313e-16
TOLERANCE = 30.0 * EPS
STEP_FACTOR = 100.0
SHRINK = 0.55
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FitResult:
    """Where the fit ended.

    Parameters
    ----------
    p : float64[n]
    chi2 : sum of the squared residuals
    converged : False if the number of evaluations ran out, or the residuals are not finite
    n_evaluations : number of calls of the residual function
    reason : why it stopped, in words
    """

    p: Vector
    chi2: float
    converged: bool
    n_evaluations: int
    reason: str


def fit_least_squares(
    residuals: Callable[[Vector], Vector], start: Vector, max_evaluations: int
) -> FitResult:
    """Minimise the sum of squared residuals.

    Parameters
    ----------
    residuals : function of the parameters; returns a new float64[m] at every call
    start : float64[n]
    max_evaluations : the fit gives up after so many calls (those for derivatives count)

    Examples
    --------
    >>> x = np.linspace(0, 1, 20)
    >>> def residuals(p):
    ...     return p[0] * np.exp(p[1] * x) - 2 * np.exp(-x)
    >>> result = fit_least_squares(residuals, np.array([1.0, 0.0]), 300)
    >>> [round(float(value), 6) for value in result.p], result.converged
    ([2.0, -1.0], True)
    """
    p = np.array(start, dtype=np.float64)
    n = p.size
    r = residuals(p)
    calls = 1
    norm = math.sqrt(sum_of_squares(r))
    if not math.isfinite(norm):
        return FitResult(p, norm, False, calls, "the residuals are not finite")
    par = 0.0
    delta = x_norm = 0.0
    scale = np.ones(n)
    first = True
    while True:
        jacobian = _differences(residuals, p, r)
        calls += n
        upper, order, qtf, column_norms = _factorise(jacobian, r)
        if first:
            scale = np.where(column_norms == 0.0, 1.0, column_norms)
            x_norm = float(np.linalg.norm(scale * p))
            delta = STEP_FACTOR * x_norm or STEP_FACTOR
        if norm == 0.0 or _gradient(upper, order, qtf, column_norms, norm) <= TOLERANCE:
            return FitResult(p, norm**2, True, calls, "the residuals are orthogonal to the derivatives")
        scale = np.maximum(scale, column_norms)
        while True:
            par, step = _step(upper, order, scale, qtf, delta, par)
            trial = p - step
            step_norm = float(np.linalg.norm(scale * step))
            if first:
                delta = min(delta, step_norm)
            r_trial = residuals(trial)
            calls += 1
            norm_trial = math.sqrt(sum_of_squares(r_trial))
            actual = 1.0 - (norm_trial / norm) ** 2 if 0.1 * norm_trial < norm else -1.0
            bend = upper @ step[order]
            t1 = float(np.linalg.norm(bend)) / norm
            t2 = math.sqrt(par) * step_norm / norm
            predicted = t1**2 + 2.0 * t2**2
            slope = -(t1**2 + t2**2)
            ratio = actual / predicted if predicted != 0.0 else 0.0
            if not ratio > 0.25:
                shrink = 0.5 if actual >= 0.0 else 0.5 * slope / (slope + SHRINK * actual)
                if 0.1 * norm_trial >= norm or not shrink >= 0.1:
                    shrink = 0.1
                delta = shrink * min(delta, step_norm * 10.0)
                par /= shrink
            elif par == 0.0 or ratio >= 0.75:
                delta = step_norm / 0.5
                par *= 0.5
            accepted = ratio >= 1e-4
            if accepted:
                p, r, norm = trial, r_trial, norm_trial
                x_norm = float(np.linalg.norm(scale * p))
                first = False
            small_change = abs(actual) <= TOLERANCE and predicted <= TOLERANCE and 0.5 * ratio <= 1.0
            if small_change or delta <= TOLERANCE * x_norm:
                return FitResult(p, norm**2, True, calls, "converged")
            if calls >= max_evaluations:
                return FitResult(p, norm**2, False, calls, "the number of evaluations ran out")
            if (abs(actual) <= EPS and predicted <= EPS and 0.5 * ratio <= 1.0) or delta <= EPS * x_norm:
                return FitResult(
                    p, norm**2, True, calls, "no further improvement within the number precision"
                )
            if accepted:
                break


def _differences(residuals: Callable[[Vector], Vector], p: Vector, r: Vector) -> npt.NDArray[np.float64]:
    """Return the derivatives by forward differences."""
    relative = math.sqrt(TOLERANCE)
    out = np.empty((r.size, p.size), order="F")
    for i in range(p.size):
        shifted = p.copy()
        shifted[i] += relative * abs(p[i]) or relative
        out[:, i] = (residuals(shifted) - r) / (shifted[i] - p[i])
    return out


def _factorise(jacobian: npt.NDArray, r: Vector) -> tuple[npt.NDArray, npt.NDArray[np.int64], Vector, Vector]:
    """Return R, the column order, Q^T r and the column norms of a QR factorisation with pivoting."""
    from scipy.linalg import qr

    n = jacobian.shape[1]
    norms = np.sqrt([sum_of_squares(jacobian[:, i]) for i in range(n)])
    # without pivoting first, the residuals as one more column; only the small triangle goes to LAPACK
    columns = np.asfortranarray(np.column_stack([jacobian, r]))
    reduce_to_triangle(columns)
    small = np.triu(columns[: n + 1])
    q, upper, order = qr(small[:n, :n], mode="economic", pivoting=True, check_finite=False)
    return upper, order, q.T @ small[: q.shape[0], n], norms


@njit(cache=True, nogil=True)
def sum_of_squares(values: Vector) -> float:
    """Return the sum of squares of float64[n], always added in the same order.

    A threaded BLAS adds in an order that depends on the number of threads, and rounding decides where a fit
    ends.
    """
    total = 0.0
    for i in range(values.size):
        total += values[i] * values[i]
    return total


@njit(cache=True, nogil=True)
def reduce_to_triangle(a: Vector) -> None:
    """Reduce float64[m, n] (column-major) to upper triangular form by Householder reflections, in place.

    What is below the diagonal afterwards is of no use.
    """
    m, n = a.shape
    for k in range(min(m - 1, n)):
        length = math.sqrt(sum_of_squares(a[k:, k]))
        if length == 0.0:
            continue
        if a[k, k] > 0.0:
            length = -length
        head = a[k, k] - length
        # v = (head, a[k+1:, k]); the reflection is 1 + v v' / (length * head)
        for j in range(k + 1, n):
            dot = head * a[k, j]
            for i in range(k + 1, m):
                dot += a[i, k] * a[i, j]
            dot /= length * head
            a[k, j] += dot * head
            for i in range(k + 1, m):
                a[i, j] += dot * a[i, k]
        a[k, k] = length


def _gradient(upper: npt.NDArray, order: npt.NDArray, qtf: Vector, norms: Vector, norm: float) -> float:
    """Return the largest cosine between the residuals and a column of derivatives."""
    if norm == 0.0:
        return 0.0
    products = np.abs(upper.T @ (qtf / norm))
    used = norms[order] != 0.0
    return float((products[used] / norms[order][used]).max(initial=0.0))


def _step(
    upper: npt.NDArray, order: npt.NDArray, scale: Vector, qtf: Vector, delta: float, par: float
) -> tuple[float, Vector]:
    """Return the Levenberg-Marquardt parameter and the step within the bound (MINPACK's lmpar)."""
    n = scale.size
    diagonal = np.abs(np.diag(upper))
    zero = np.flatnonzero(diagonal == 0.0)
    rank = int(zero[0]) if zero.size else n
    newton = np.zeros(n)
    newton[:rank] = _back_substitute(upper[:rank, :rank], qtf[:rank])
    x = np.zeros(n)
    x[order] = newton
    length = float(np.linalg.norm(scale * x))
    excess = length - delta
    if excess <= 0.1 * delta:
        return 0.0, x
    low = 0.0
    if rank == n:
        w = (scale * (scale * x) / length)[order]
        w = _forward_substitute(upper, w)
        low = excess / delta / float(w @ w)
    gradient = float(np.linalg.norm(upper.T @ qtf / scale[order]))
    high = gradient / delta or 2.2e-308 / min(delta, 0.1)
    par = min(max(par, low), high)
    if par == 0.0:
        par = gradient / length
    for attempt in range(10):
        if par == 0.0:
            par = max(2.2e-308, 0.001 * high)
        x_ordered, triangle = _solve_damped(upper, math.sqrt(par) * scale[order], qtf)
        x[order] = x_ordered
        length = float(np.linalg.norm(scale * x))
        previous, excess = excess, length - delta
        if abs(excess) <= 0.1 * delta or (low == 0.0 and excess <= previous < 0.0) or attempt == 9:
            break
        w = (scale * (scale * x) / length)[order]
        w = _forward_substitute(triangle, w)
        correction = excess / delta / float(w @ w)
        if excess > 0.0:
            low = max(low, par)
        elif excess < 0.0:
            high = min(high, par)
        par = max(low, par + correction)
    return par, x


def _solve_damped(upper: npt.NDArray, damping: Vector, qtf: Vector) -> tuple[Vector, npt.NDArray]:
    """Solve the least-squares problem (R; D) x = (Q^T r; 0); return x and its triangular factor."""
    n = damping.size
    q, triangle = np.linalg.qr(np.vstack([upper, np.diag(damping)]))
    return _back_substitute(triangle, q[:n].T @ qtf), triangle


def _back_substitute(triangle: npt.NDArray, b: Vector) -> Vector:
    from scipy.linalg import solve_triangular

    return solve_triangular(triangle, b, check_finite=False) if b.size else b


def _forward_substitute(triangle: npt.NDArray, b: Vector) -> Vector:
    from scipy.linalg import solve_triangular

    return solve_triangular(triangle, b, trans="T", check_finite=False)
