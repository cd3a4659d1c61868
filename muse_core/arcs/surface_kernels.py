# SPDX-License-Identifier: BSD-3-Clause
"""Polynomials of two variables in a Legendre basis: weighted least squares."""

from __future__ import annotations

import math

import numpy as np

from muse_core.arcs.curve_kernels import legendre
from muse_core.arcs.linear_kernels import factor, substitute
from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True, error_model="numpy")
def _basis(u, v, across, along, row):
    """Products of Legendre polynomials at a point, to ``row``; ``across``, ``along`` are work space."""
    legendre(u, across.size - 1, across)
    legendre(v, along.size - 1, along)
    k = 0
    for i in range(across.size):
        for j in range(along.size):
            row[k] = across[i] * along[j]
            k += 1


@njit(cache=True, nogil=True, error_model="numpy")
def fit_products(u, v, z, weight, coefficients, values):
    """Weighted least squares; False if the normal equations are singular.

    The residuals are fitted once more, which makes good what the normal equations lose by rounding.

    Parameters
    ----------
    u, v, z, weight : float64[n]
        Coordinates from -1 to 1, values, weights of the squares of the residuals.
    coefficients : float64[nx, ny], written
    values : float64[n], written
        Of the polynomial at the points.
    """
    nx, ny = coefficients.shape
    terms = nx * ny
    across, along, row = np.empty(nx), np.empty(ny), np.empty(terms)
    normal, rhs = np.zeros((terms, terms)), np.empty(terms)
    coefficients[:] = 0.0
    values[:] = 0.0
    for again in (False, True):
        rhs[:] = 0.0
        for i in range(u.size):
            _basis(u[i], v[i], across, along, row)
            off = weight[i] * (z[i] - values[i])
            for a in range(terms):
                rhs[a] += off * row[a]
                if not again:
                    part = weight[i] * row[a]
                    for b in range(a + 1):
                        normal[a, b] += part * row[b]
        if not again and not factor(normal, terms):
            return False
        substitute(normal, rhs, terms)
        k = 0
        for i in range(nx):
            for j in range(ny):
                coefficients[i, j] += rhs[k]
                k += 1
        for i in range(u.size):
            _basis(u[i], v[i], across, along, row)
            total = 0.0
            k = 0
            for a in range(nx):
                for b in range(ny):
                    total += coefficients[a, b] * row[k]
                    k += 1
            values[i] = total
    return math.isfinite(coefficients[0, 0])
