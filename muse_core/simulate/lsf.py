# SPDX-License-Identifier: BSD-3-Clause
"""Line-spread function of the simulated instrument: parameters per slice, profile, images, sky spectra.

The profile is the Gauss-Hermite form of the pipeline's parameter table, so that both flavours of LSF_PROFILE
describe exactly the light in the simulated data.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from muse_core.framework.kernels import njit
from muse_core.simulate.geometry import N_IFU, N_SLICE

N_PARAMETER = 9  # lsf_width (3), hermit3, hermit4 (2 each), hermit5, hermit6
_LSF_SEED = 20140201
SLIT_WIDTH = 2.4
BIN_WIDTH = 1.25


def lsf_parameters(skew: float = 0.0) -> dict[str, np.ndarray]:
    """Parameters of all slices, first axes [ifu - 1, slice - 1]; names as the columns of the table.

    Parameters
    ----------
    skew : mean of the third Hermite coefficient; 0 makes profiles that are symmetric in the mean
    """
    rng = np.random.default_rng(_LSF_SEED)
    shape = (N_IFU, N_SLICE)

    def draw(mean: float, sigma: float, *more: Any) -> Any:
        first = mean + rng.normal(0, sigma, shape)
        return np.stack([first, *(m + rng.normal(0, abs(m) * 0.1, shape) for m in more)], axis=-1)

    return {
        "slit_width": SLIT_WIDTH + rng.normal(0, 0.04, shape),
        "bin_width": np.full(shape, BIN_WIDTH),
        # resolution improves to the red, as in the instrument
        "lsf_width": draw(0.70, 0.05, -5e-5, 8e-9),
        "hermit3": draw(skew, 0.012, 4e-6),
        "hermit4": draw(-0.02, 0.008, 4e-6),
        "hermit5": draw(0.0, 0.006)[..., 0],
        "hermit6": draw(0.0, 0.006)[..., 0],
    }


def slice_parameters(table: dict[str, np.ndarray], ifu: int, slice_: int) -> np.ndarray:
    """All numbers of one slice as the profile kernel takes them (float64[11])."""
    i, j = ifu - 1, slice_ - 1
    names = ("slit_width", "bin_width", "lsf_width", "hermit3", "hermit4", "hermit5", "hermit6")
    return np.concatenate([np.atleast_1d(table[n][i, j]) for n in names]).astype(float)


@njit(cache=True, nogil=True)
def _primitive(t: float, sigma: float, h3: float, h4: float, h5: float, h6: float) -> float:
    u = t / sigma
    g = math.exp(-u * u)
    u2 = u * u
    # physicists' Hermite polynomials of order k - 2 over sqrt(2^k k!)
    poly = (
        h3 * 2.0 * u / math.sqrt(48.0)
        + h4 * (4.0 * u2 - 2.0) / math.sqrt(384.0)
        + h5 * (8.0 * u2 - 12.0) * u / math.sqrt(3840.0)
        + h6 * (16.0 * u2 * u2 - 48.0 * u2 + 12.0) / math.sqrt(46080.0)
    )
    return sigma * (
        0.5 * u * math.erf(u / math.sqrt(2.0)) + (math.exp(-0.5 * u2) + poly * g) / math.sqrt(2.0 * math.pi)
    )


@njit(cache=True, nogil=True)
def profile(par: np.ndarray, offset: float, wavelength: float) -> float:
    """Value of the line-spread function [1/A] at an offset from a line of some wavelength.

    Parameters
    ----------
    par : float64[11]   slice_parameters
    """
    d = wavelength - 7000.0
    sigma = par[2] + d * (par[3] + d * par[4])
    h3 = par[5] + d * par[6]
    h4 = par[7] + d * par[8]
    s, b = 0.5 * par[0], 0.5 * par[1]
    total = 0.0
    for i in range(4):
        ss = s if i < 2 else -s
        bb = b if i % 2 == 0 else -b
        sign = 1.0 if i == 0 or i == 3 else -1.0
        total += sign * _primitive(offset + ss + bb, sigma, h3, h4, par[9], par[10])
    return total / (par[0] * par[1])


@njit(cache=True, nogil=True)
def line_spectrum(
    par: np.ndarray,
    lines: np.ndarray,
    fluxes: np.ndarray,
    lam0: float,
    dlam: float,
    window: float,
    out: np.ndarray,
) -> None:
    """Add the lines, spread by one slice's LSF, to an equidistant spectrum.

    Parameters
    ----------
    lines, fluxes : float64[n]
    out : float64[nlam]   spectrum on lam0 + k * dlam, updated
    """
    for i in range(lines.size):
        first = max(0, int(math.ceil((lines[i] - window - lam0) / dlam)))
        last = min(out.size - 1, int(math.floor((lines[i] + window - lam0) / dlam)))
        for k in range(first, last + 1):
            out[k] += fluxes[i] * profile(par, lam0 + k * dlam - lines[i], lines[i])


@njit(cache=True, nogil=True)
def _fill_image(pars: np.ndarray, offsets: np.ndarray, waves: np.ndarray, image: np.ndarray) -> None:
    for j in range(pars.shape[0]):
        for iw in range(waves.size):
            for ix in range(offsets.size):
                image[j, iw, ix] = profile(pars[j], offsets[ix], waves[iw])


def lsf_image(table: dict[str, np.ndarray], ifu: int, samples: int = 150, rows: int = 30) -> np.ndarray:
    """LSF of one IFU as float32 cube [slice, line wavelength, offset], on the pipeline's standard grid."""
    pars = np.stack([slice_parameters(table, ifu, j) for j in range(1, N_SLICE + 1)])
    image = np.empty((N_SLICE, rows, samples), np.float32)
    _fill_image(pars, np.linspace(-7.5, 7.5, samples), np.linspace(4650.0, 9300.0, rows), image)
    return image


def lsf_sigma(par: np.ndarray, wavelength: float = 7000.0) -> float:
    """Width of the LSF: square root of its second moment [A]."""
    d = wavelength - 7000.0
    sigma = par[2] + d * (par[3] + d * par[4])
    return math.sqrt(sigma**2 + (par[0] ** 2 + par[1] ** 2) / 12.0)
