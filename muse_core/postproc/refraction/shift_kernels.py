# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of the refraction corrections: refractive index, and shifts of the positions."""

from __future__ import annotations

import numpy as np

from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True, error_model="numpy")
def refractivity_at(wavelength, coefficients):
    """Return n - 1 at a wavelength [Angstrom] for the eight coefficients of a :class:`RefractiveIndex`."""
    a1, b1, a2, b2, p0, p1, p2, p3 = coefficients
    micron = wavelength * 1e-4
    s = 1.0 / (micron * micron)
    return b1 / (a1 - s) + b2 / (a2 - s) + (p0 + s * (p1 + s * (p2 + s * p3)))


@njit(cache=True, nogil=True, error_model="numpy")
def shift_rows(xpos, ypos, lam, coefficients, at_reference, x_scale, y_scale):
    """Add (n(reference) - n(lambda)) * (x_scale, y_scale) to the positions.

    Parameters
    ----------
    xpos, ypos : float32[n]
        Updated in place.
    lam : float32[n]
        Wavelengths [Angstrom].
    coefficients : tuple of 8 float
        As for `refractive_index.refractivity_at`.
    at_reference, x_scale, y_scale : float
        n - 1 at the reference wavelength and pixels per unit of refractive index.
    """
    for i in range(lam.size):
        dn = at_reference - refractivity_at(np.float64(lam[i]), coefficients)
        xpos[i] = np.float64(xpos[i]) + x_scale * dn
        ypos[i] = np.float64(ypos[i]) + y_scale * dn


@njit(cache=True, nogil=True)
def shift_by_polynomials(xpos, ypos, lam, reference, x_coefficients, y_coefficients):
    """Kernel of `apply_dar_check`: float64[order] coefficients, see `DarCheck`."""
    for i in range(lam.size):
        t = (float(lam[i]) - reference) / 1000.0
        dx, dy = 0.0, 0.0
        for k in range(x_coefficients.size - 1, -1, -1):
            dx = (dx + x_coefficients[k]) * t
            dy = (dy + y_coefficients[k]) * t
        xpos[i] = float(xpos[i]) - dx
        ypos[i] = float(ypos[i]) - dy
