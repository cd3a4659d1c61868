# SPDX-License-Identifier: BSD-3-Clause
"""Smooth model of the illumination of the field, plane by plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.errors import RecipeError
from muse_core.twilight.filters import masked_median

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

FILTER_HALF = (3, 2)  # median filter of 7 rows by 5 columns


class SupportError(RecipeError):
    """A polynomial has more coefficients than the data can settle."""


@dataclass(frozen=True)
class PlaneFit:
    """Result of one plane: the normalised polynomial and the pixels that had a filtered value."""

    image: npt.NDArray[np.float32]
    support: npt.NDArray[np.bool_]


def good_mask(white: Image) -> Mask:
    """Illuminated area of the white image (bool[ny, nx]).

    Holes (NaN) grow by two pixels along x, not along y. Measured against 2.8.7: the outermost columns are
    never
    good, the second ones are as in the image.
    """
    hole = np.isnan(white)
    grown = hole.copy()
    nx = white.shape[1]
    for shift in (-2, -1, 1, 2):
        for x in range(2, nx - 2):
            grown[:, x] |= hole[:, x + shift]
    grown[:, [0, nx - 1]] = True
    return ~grown


def _basis(size: int, used: npt.NDArray[np.int64], order: int) -> npt.NDArray[np.float64]:
    """Legendre polynomials of a pixel axis, scaled to the interval of the used pixels.

    The span of all powers.
    """
    low, high = int(used.min()), int(used.max())
    axis = (2.0 * np.arange(size) - low - high) / max(high - low, 1)
    return np.asarray(np.polynomial.legendre.legvander(axis, order), np.float64)


def fit_polynomial(image: Image, region: Mask, xorder: int, yorder: int) -> npt.NDArray[np.float64]:
    """Least-squares polynomial with all products x^i y^j, evaluated on the whole image (float64).

    Measured against 2.8.7: the last row and the last column never take part in the fit.

    Parameters
    ----------
    image : float[ny, nx]
    region : bool[ny, nx]
        Pixels to fit.
    xorder, yorder : int

    Raises
    ------
    SupportError
        If the region does not determine the coefficients.
    """
    used = region.copy()
    used[-1, :] = False
    used[:, -1] = False
    y, x = np.nonzero(used)
    n = (xorder + 1) * (yorder + 1)
    message = (
        f"a polynomial of orders {xorder}, {yorder} has {n} coefficients; its {y.size} pixels in "
        f"{np.unique(x).size} columns and {np.unique(y).size} rows do not settle them; "
        "use lower orders (xorder, yorder), or look at what is left by SKYFLAT and VIGNETTING_MASK, and "
        "where TRACE_TABLE, WAVECAL_TABLE and GEOMETRY_TABLE have the slices"
    )
    if y.size < n or np.unique(x).size <= xorder or np.unique(y).size <= yorder:
        raise SupportError(message)
    by, bx = _basis(image.shape[0], y, yorder), _basis(image.shape[1], x, xorder)
    matrix = np.zeros((n, n))
    vector = np.zeros(n)
    values = image[used].astype(np.float64)
    for start in range(0, y.size, 20000):
        part = slice(start, start + 20000)
        rows = (by[y[part], :, None] * bx[x[part], None, :]).reshape(-1, n)
        matrix += rows.T @ rows
        vector += rows.T @ values[part]
    eigenvalues, vectors = np.linalg.eigh(matrix)
    if eigenvalues[0] <= 1e-13 * eigenvalues[-1]:
        raise SupportError(message)
    coefficients = vectors @ ((vectors.T @ vector) / eigenvalues)
    return by @ coefficients.reshape(yorder + 1, xorder + 1) @ bx.T


def smooth_plane(plane: Image, good: Mask, vignetted: Mask, xorder: int, yorder: int) -> PlaneFit:
    """Median filter, polynomial fit outside the vignetted area, normalisation.

    Parameters
    ----------
    plane : float32[ny, nx]
    good : bool[ny, nx]
        Illuminated area.
    vignetted : bool[ny, nx]
        Left out of the fit and of the mean.
    xorder, yorder : int
    """
    filtered = np.empty(plane.shape, np.float32)
    masked_median(np.ascontiguousarray(plane, np.float32), good, *FILTER_HALF, filtered)
    support = np.isfinite(filtered)
    if not support.any():
        raise SupportError(
            "a plane of the cube has no illuminated pixel; check lambdamin, lambdamax, dlambda"
        )
    filtered = (filtered / np.mean(filtered[support], dtype=np.float64)).astype(np.float32)
    inside = support & ~vignetted
    fit = fit_polynomial(filtered, inside, xorder, yorder).astype(np.float32)
    mean = np.mean(fit[inside], dtype=np.float64)
    return PlaneFit((fit / mean).astype(np.float32), support)
