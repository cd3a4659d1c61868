# SPDX-License-Identifier: BSD-3-Clause
"""Line-spread functions given as parameters: a Gauss-Hermite shape folded with slit and pixel.

With ``u = t / sigma`` the double integral of the shape is::

    F(t) = sigma * [ u/2 erf(u / sqrt 2)
                     + (exp(-u^2 / 2) + sum_k h_k H_(k-2)(u) exp(-u^2) / sqrt(2^k k!)) / sqrt(2 pi) ],   k =
                     3..6

with the physicists' Hermite polynomials H, and the profile is its second difference over slit and pixel
width::

    P(x) = [F(x + s + b) - F(x + s - b) - F(x - s + b) + F(x - s - b)] / (4 s b),   s, b = half widths

``exp(-u^2)`` in the Hermite terms is what the C pipeline 2.8.7 does (measured to 2e-15).  The width
``sigma`` and the coefficients ``h_k`` are polynomials of the line wavelength minus 7000 Angstrom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.data.slices import N_IFU, N_SLICE
from muse_core.postproc.lsf.gauss_hermite import profile_terms
from muse_core.postproc.lsf.profile_kernels import hermite_profile

LAM_REFERENCE = 7000.0
TABLE_REACH = 7.0  # Angstrom


@dataclass(frozen=True)
class LsfTable:
    """Profile parameters of the slices.

    Parameters
    ----------
    row : int32[1152]   which parameters belong to a slice; -1: none
    slit_width, bin_width : float64[n]   Angstrom
    lsf_width : float64[n, m]   polynomial coefficients of sigma
    hermit : four float64[n, m_k]   polynomial coefficients of h_3 .. h_6
    repeated : IFUs with slices that are there again: the first row of each counts
    """

    row: npt.NDArray[np.int32]
    slit_width: npt.NDArray[np.float64]
    bin_width: npt.NDArray[np.float64]
    lsf_width: npt.NDArray[np.float64]
    hermit: tuple[npt.NDArray[np.float64], ...]
    repeated: tuple[int, ...] = ()

    def values(self) -> dict[str, object]:
        """Return what the rules of LSF_PROFILE are about: widths (at 7000 Angstrom), repeated IFUs."""
        return {
            "slit_width": self.slit_width, "bin_width": self.bin_width, "lsf_width": self.lsf_width[:, 0],
            "REPEATED": self.repeated,
        }  # fmt: skip

    @property
    def reach(self) -> tuple[float, float]:
        """Window of a line."""
        return -TABLE_REACH, TABLE_REACH

    @property
    def ifus(self) -> tuple[int, ...]:
        """IFUs that have profiles."""
        return tuple(i + 1 for i in range(N_IFU) if (self.row[i * N_SLICE : (i + 1) * N_SLICE] >= 0).any())

    def parameters(self, lam: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the profile parameters at line wavelengths.

        Returns
        -------
        float64[n_slice, n_line, 7] : half slit, half bin, sigma, h3, h4, h5, h6
        """
        d = np.atleast_1d(np.asarray(lam, dtype=np.float64)) - LAM_REFERENCE
        n = self.slit_width.size
        out = np.empty((n, d.size, 7))
        out[:, :, 0] = self.slit_width[:, np.newaxis] / 2
        out[:, :, 1] = self.bin_width[:, np.newaxis] / 2
        for q, coefficients in enumerate((self.lsf_width, *self.hermit)):
            out[:, :, 2 + q] = np.polynomial.polynomial.polyval(d, coefficients.T, tensor=True)
        return out

    def terms(self, lam: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return what `fill_profiles` takes at line wavelengths, float64[n_slice, n_line, 9]."""
        return profile_terms(self.parameters(lam))

    def profile(self, key: int, lam_line: float, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the profile of a slice at the offsets ``x`` from a line, per Angstrom."""
        x = np.atleast_1d(np.asarray(x, dtype=np.float64))
        if self.row[key] < 0:
            return np.zeros(x.size)
        parameters = self.parameters([lam_line])[self.row[key], 0]
        return np.array([hermite_profile(offset, *parameters) for offset in x])
