# SPDX-License-Identifier: BSD-3-Clause
"""Circular Moffat functions and their transfer functions.

I(r) = (beta - 1) / (pi a^2) (1 + r^2 / a^2)^-beta with a^2 = FWHM^2 / (4 (2^(1/beta) - 1)).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["MoffatOtf", "core_radius", "moffat_profile", "otf_closed", "sampled_otf", "turbulence_otf"]

Array: TypeAlias = npt.NDArray[np.float64]


def core_radius(fwhm: float, beta: float) -> float:
    """Core radius a of a Moffat function, in the unit of fwhm."""
    return 0.5 * fwhm / np.sqrt(np.expm1(np.log(2.0) / beta))


def moffat_profile(r_squared: Array, fwhm: float, beta: float) -> Array:
    """Moffat function of unit volume at squared radii r_squared.

    The peak of the function stays finite for a vanishing width because the core radius is bounded by 1e-6.
    The result is NaN where no such function exists (beta <= 0).
    """
    if not beta > 0:
        return np.full(np.shape(r_squared), np.nan)
    a2 = max(core_radius(fwhm, beta), 1e-6) ** 2
    return (beta - 1.0) / (np.pi * a2) * np.exp(-beta * np.log1p(r_squared / a2))


def sampled_otf(
    shape: tuple[int, int], steps: tuple[float, float], fwhm: float, beta: float, oversample: int = 1
) -> Array:
    """Transfer function of a Moffat drawn on a periodic grid around pixel 0, normalised at zero frequency.

    The Moffat is even in both axes, so a cosine transform of one quarter of the grid does the work of the
    full Fourier transform.

    Parameters
    ----------
    shape : (int, int)
        even numbers of rows and columns of the periodic grid
    steps : (float, float)
        pixel sizes along y and x, in the unit of fwhm
    fwhm, beta : float
        Moffat parameters
    oversample : int
        draw the function on a grid finer by this factor and of the same total size

    Returns
    -------
    float64[shape[0], shape[1] // 2 + 1]
        real transfer function in the layout of ``rfft2``
    """
    from scipy import fft

    ny, nx = shape
    y = np.arange(ny * oversample // 2 + 1) * (steps[0] / oversample)
    x = np.arange(nx * oversample // 2 + 1) * (steps[1] / oversample)
    a2 = max(core_radius(fwhm, beta), 1e-6) ** 2
    quarter = (y * y)[:, None] + (x * x)[None, :]
    quarter /= a2
    np.log1p(quarter, out=quarter)
    quarter *= -beta
    np.exp(quarter, out=quarter)
    # only the low frequencies of an oversampled grid are wanted: drop the others between the two passes
    rows = fft.dct(quarter, type=1, axis=1, overwrite_x=True)[:, : nx // 2 + 1]
    quarter = fft.dct(rows, type=1, axis=0)[: ny // 2 + 1]
    quarter = quarter / quarter[0, 0]
    return np.concatenate([quarter, quarter[-2:0:-1]], axis=0)


def otf_closed(frequency: npt.ArrayLike, fwhm: float, beta: float) -> Array:
    """Transfer function of the continuous Moffat at frequencies [cycles per unit of fwhm].

    P(z) = 2 / Gamma(b) (z / 2)^b K_b(z) with b = beta - 1 and z = 2 pi a frequency.
    """
    z = 2.0 * np.pi * np.asarray(frequency, float) * core_radius(fwhm, beta)
    out = _bessel_form(z, beta - 1.0, beta - 1.0)
    return np.where((z < 1e-8) | ((z < 1e-2) & ~np.isfinite(out)), 1.0, np.where(np.isfinite(out), out, 0.0))


def _otf_by_fwhm(frequency: npt.ArrayLike, fwhm: float, beta: float) -> Array:
    """Derivative of `otf_closed` by fwhm, from d/dz (z^b K_b(z)) = -z^b K_(b-1)(z)."""
    z = 2.0 * np.pi * np.asarray(frequency, float) * core_radius(fwhm, beta)
    out = -z / fwhm * _bessel_form(z, beta - 1.0, beta - 2.0)
    return np.where(np.isfinite(out), out, 0.0)


def turbulence_otf(frequency: npt.ArrayLike, fwhm: float) -> Array:
    """Transfer function of long exposures through turbulence, by the width of its profile.

    exp(-3.44 (lambda f / r0)^(5/3)) of Fried (1966), JOSA 56, 1372, with a width of 0.976 lambda / r0.
    """
    return np.asarray(np.exp(-3.44 * (np.asarray(frequency, float) * fwhm / 0.976) ** (5.0 / 3.0)))


def _bessel_form(z: Array, b: float, order: float) -> Array:
    """2 / Gamma(b) (z/2)^b K_order(z); not finite where it overflows."""
    from scipy.special import gammaln, kve

    safe = np.maximum(z, 1e-12)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return np.exp(np.log(2.0) - gammaln(b) + b * np.log(0.5 * safe) - safe) * kve(order, safe)


class MoffatOtf:
    """The closed-form transfer function and its derivatives on a fixed set of frequencies.

    The function depends on one number only, so it is tabulated in the radius of the frequency plane and
    interpolated with cubic polynomials whose places and weights are computed once.

    Parameters
    ----------
    radius : float array
        frequencies [cycles / arcsec] at which the function will be asked for, any shape
    knots : int
        length of the table
    """

    def __init__(self, radius: Array, knots: int = 1536) -> None:
        from scipy import sparse

        top = float(radius.max()) * 1.000001
        step = top / (knots - 4)
        place = radius.ravel() / step
        cell = np.minimum(place.astype(np.int32), knots - 4)
        t = place - cell
        # cubic Lagrange weights for the knots cell-1 .. cell+2; the table starts one knot below zero
        weights = np.stack(
            [
                -t * (t - 1.0) * (t - 2.0) / 6.0,
                (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
                -(t + 1.0) * t * (t - 2.0) / 2.0,
                (t + 1.0) * t * (t - 1.0) / 6.0,
            ],
            axis=1,
        )
        columns = cell[:, None] + np.arange(4, dtype=np.int32)
        rows = np.arange(0, 4 * place.size + 1, 4, dtype=np.int32)
        self.interpolate = sparse.csr_array(
            (weights.ravel(), columns.ravel(), rows), shape=(place.size, knots)
        )
        self.shape = radius.shape
        # even function: the knot below zero mirrors the first
        self.knots = np.abs(np.arange(-1, knots - 1)) * step

    def _spread(self, table: Array) -> Array:
        return (self.interpolate @ table).reshape(self.shape)

    def value(self, fwhm: float, beta: float) -> Array:
        """The transfer function."""
        return self._spread(otf_closed(self.knots, fwhm, beta))

    def by_fwhm(self, fwhm: float, beta: float) -> Array:
        """Its derivative by fwhm."""
        return self._spread(_otf_by_fwhm(self.knots, fwhm, beta))

    def turbulence(self, fwhm: float) -> Array:
        """The transfer function of turbulence in place of that of a Moffat."""
        return self._spread(turbulence_otf(self.knots, fwhm))

    def turbulence_by_fwhm(self, fwhm: float) -> Array:
        """Its derivative by fwhm."""
        exponent = 3.44 * (self.knots * fwhm / 0.976) ** (5.0 / 3.0)
        return self._spread(-5.0 / 3.0 * exponent / fwhm * np.exp(-exponent))

    def by_beta(self, fwhm: float, beta: float) -> Array:
        """Its derivative by beta."""
        step = 1e-4 * (beta - 1.0)
        high, low = (otf_closed(self.knots, fwhm, b) for b in (beta + step, beta - step))
        return self._spread((high - low) / (2 * step))
