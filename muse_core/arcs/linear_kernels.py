# SPDX-License-Identifier: BSD-3-Clause
"""Small systems of linear equations with a positive definite matrix (Cholesky), in place.

`try_step` and `take_step` are what the fits of Gaussians share (Levenberg 1944, Marquardt 1963).
"""

from __future__ import annotations

import math

from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True, error_model="numpy")
def factor(matrix, n):
    """Replace the lower half of ``matrix`` (float64[n, n]) by its Cholesky factor; False if singular."""
    for j in range(n):
        for k in range(j):
            matrix[j, j] -= matrix[j, k] * matrix[j, k]
        if not matrix[j, j] > 0.0:
            return False
        matrix[j, j] = math.sqrt(matrix[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] /= matrix[j, j]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def substitute(matrix, rhs, n):
    """Replace ``rhs`` (float64[n]) by the solution, with a matrix from `factor`."""
    for i in range(n):
        for k in range(i):
            rhs[i] -= matrix[i, k] * rhs[k]
        rhs[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            rhs[i] -= matrix[k, i] * rhs[k]
        rhs[i] /= matrix[i, i]


@njit(cache=True, nogil=True, error_model="numpy")
def solve(matrix, rhs, n):
    """Solve ``n`` equations in place; False if the matrix is singular."""
    if not factor(matrix, n):
        return False
    substitute(matrix, rhs, n)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def try_step(p, normal, rhs, damping, n, matrix, step, trial):
    """Find the next parameters from damped normal equations; False if these are singular.

    Parameters
    ----------
    p : float64[n or more]
        Parameters; those from number ``n`` on are not fitted.
    normal, rhs : float64[n, n], float64[n]
        Normal equations at ``p``; of the matrix the lower half.
    damping : float
    matrix, step : float64[n, n], float64[n]
        Work space.
    trial : float64[n], written
        ``p`` and the step.
    """
    for a in range(n):
        step[a] = rhs[a]
        for b in range(a + 1):
            matrix[a, b] = normal[a, b]
        matrix[a, a] *= 1.0 + damping
    if not solve(matrix, step, n):
        return False
    for a in range(n):
        trial[a] = p[a] + step[a]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def take_step(p, normal, rhs, n, matrix, step, trial):
    """Copy parameters and their normal equations (``matrix``, ``step``) to ``p``, ``normal`` and ``rhs``."""
    for a in range(n):
        p[a] = trial[a]
        rhs[a] = step[a]
        for b in range(a + 1):
            normal[a, b] = matrix[a, b]
