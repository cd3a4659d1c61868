# SPDX-License-Identifier: BSD-3-Clause
"""Noise of the two images and what it does to the parameters of a fit in the image plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.image.forward_model import ForwardModel

__all__ = ["NoiseBudget", "hst_noise_level", "parameter_covariance", "residual_autocovariance"]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Planes: TypeAlias = npt.NDArray[np.complex128]

LAGS = 3  # correlations of the MUSE noise are looked for up to this many pixels


@dataclass
class NoiseBudget:
    """Covariance of the free parameters, its parts and the shift that HST noise causes."""

    covariance: Array
    muse_part: Array
    hst_part: Array
    bias: Array
    inflation: float
    hst_sigma: float


BLOCK = 16  # fine pixels; the HST noise is taken from the quietest blocks of this size
QUIET = 20.0  # percentile of the block variances that is used


def hst_noise_level(fine: Array, step: float, covered: Mask) -> float:
    """Spectral density of the noise of an HST image on the fine grid, as variance of white noise per fine
    pixel.

    The noise is measured at the scales that reach the MUSE image (about 0.2 to 0.6 arcsec), so that the
    correlations of drizzled images do not matter, and in the blocks of the sky where least is seen; what
    choosing these blocks does to white noise is measured on white noise and divided out.
    """
    variances = _block_variances(fine, step, covered)
    if variances.size < 4:
        return 0.0
    return float(np.percentile(variances, QUIET) / _white_reference(round(step, 6)))


def _block_variances(image: Array, step: float, covered: Mask) -> Array:
    from scipy import fft

    square = fft.fftfreq(image.shape[0])[:, None] ** 2 + fft.rfftfreq(image.shape[1]) ** 2
    narrow, wide = (np.exp(-2.0 * (np.pi * width / step) ** 2 * square) for width in (0.1, 0.25))  # Gaussians
    band = fft.irfft2(fft.rfft2(image) * (narrow - wide), image.shape)
    ny, nx = (n // BLOCK for n in band.shape)
    if not (ny and nx):
        return np.zeros(0)

    def blocks(plane: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return (
            plane[: ny * BLOCK, : nx * BLOCK]
            .reshape(ny, BLOCK, nx, BLOCK)
            .swapaxes(1, 2)
            .reshape(ny * nx, BLOCK**2)
        )

    return np.asarray(blocks(band)[blocks(covered).all(axis=1)].var(axis=1))


@lru_cache(maxsize=8)
def _white_reference(step: float) -> float:
    noise = np.random.default_rng(20160501).standard_normal((768, 768))
    return float(np.percentile(_block_variances(noise, step, np.ones(noise.shape, bool)), QUIET))


def residual_autocovariance(residual: Array, used: Mask, lags: int = LAGS) -> Array:
    """Autocovariance of an image of residuals at small lags, over the used pixels.

    Lags at which the correlation is not significant (3 sigma) are set to zero.

    Returns
    -------
    float64[2 * lags + 1, 2 * lags + 1]
    """
    from scipy import fft

    shape = tuple(fft.next_fast_len(n + lags, real=True) for n in residual.shape)
    r = fft.rfft2(np.where(used, residual, 0.0), shape)
    m = fft.rfft2(used.astype(float), shape)
    product = fft.irfft2(np.abs(r) ** 2, shape)
    pairs = fft.irfft2(np.abs(m) ** 2, shape)
    index = np.arange(-lags, lags + 1)
    product, pairs = product[np.ix_(index, index)], np.maximum(pairs[np.ix_(index, index)], 1.0)
    out = product / pairs
    zero = out[lags, lags]
    out[np.abs(out) < 3.0 * zero / np.sqrt(pairs)] = 0.0
    out[lags, lags] = zero
    return np.asarray(out)


def parameter_covariance(
    model: ForwardModel,
    point: tuple[float, float, float, float],
    scale: float,
    jacobian: Array,
    names: Sequence[str],
    residual: Array,
    used: Mask,
    sigma: Array,
    hst_variance: Array | float,
) -> NoiseBudget:
    """Covariance of the fitted parameters from the noise that the residuals show and from that of HST.

    Parameters
    ----------
    model : ForwardModel
    point : (dx, dy, fwhm, beta)
        solution
    scale : float
        fitted scale
    jacobian : float64[npix, nfree]
        derivatives of (data - model) / sigma on the used pixels
    names : list of str
        free parameters, columns of jacobian
    residual : float64[ny, nx]
        (data - model) / sigma, anything where not used
    used : bool[ny, nx]
    sigma : float64[ny, nx]
        standard deviations of the MUSE pixels
    hst_variance : float64[2 ny', 2 nx'] or float
        variance of white noise of the HST image per fine pixel

    Returns
    -------
    NoiseBudget
    """
    normal = jacobian.T @ jacobian
    inverse = np.linalg.pinv(normal, hermitian=True)
    planes: Array = np.zeros((len(names), *used.shape))
    planes[:, used] = jacobian.T
    weights = np.where(used, 1.0 / sigma, 0.0)
    kernel = residual_autocovariance(residual, used)
    hst_part, gradient = np.zeros_like(normal), np.zeros(len(names))
    mean_variance = float(np.mean(hst_variance))
    if mean_variance > 0:
        noise_filter = model.noise_filter(*point)
        power = model.noise_power(noise_filter, noise_filter)
        hst_part = scale**2 * _hst_part(model, planes * weights, noise_filter, power, hst_variance)
        gradient = mean_variance * _attenuation(model, point, scale, names, noise_filter, power)
        hst_kernel = model.noise_covariance(power)[np.ix_(*[range(-LAGS, LAGS + 1)] * 2)]
        seen = mean_variance * scale**2 * np.mean(weights[used] ** 2) * hst_kernel
        kernel = _without(kernel, seen)
    muse_part = _muse_part(jacobian, planes, used, kernel, normal)
    freedom = used.sum() / max(used.sum() - len(names), 1)
    covariance = inverse @ (muse_part * freedom + hst_part) @ inverse
    inflation = float(np.sqrt(np.mean(np.diag(muse_part) / np.diag(normal))))
    bias = -inverse @ gradient * float(np.sum(weights**2))
    return NoiseBudget(covariance, muse_part, hst_part, bias, inflation, float(np.sqrt(mean_variance)))


def _without(kernel: Array, hst_kernel: Array) -> Array:
    """Autocovariance of the residuals less the part that HST noise has in it."""
    zero = kernel[LAGS, LAGS]
    out = kernel - np.where(kernel != 0.0, hst_kernel, 0.0)
    out[LAGS, LAGS] = max(out[LAGS, LAGS], 0.2 * zero)
    return np.asarray(out)


def _muse_part(jacobian: Array, planes: Array, used: Mask, kernel: Array, normal: Array) -> Array:
    """Scatter of the gradient of chi squared that noise with a given autocovariance causes."""
    from scipy import ndimage

    smoothed = [ndimage.correlate(plane, kernel, mode="constant")[used] for plane in planes]
    out = jacobian.T @ np.array(smoothed).T
    out = 0.5 * (out + out.T)
    floor = 0.5 * kernel[LAGS, LAGS] * normal
    if np.any(np.diag(out) < np.diag(floor)):  # negative correlations measured by chance
        ratio = np.maximum(np.diag(out), np.diag(floor)) / np.diag(normal)
        out = np.sqrt(np.outer(ratio, ratio)) * normal
    return np.asarray(out)


def _hst_part(
    model: ForwardModel, planes: Array, noise_filter: Planes, power: Array, variance: Array | float
) -> Array:
    """The same for HST noise and scale one; planes are weighted derivatives on the MUSE pixels."""
    spectra = np.array([model.spectrum_of(plane) for plane in planes])
    if isinstance(variance, np.ndarray):
        images = [model.transpose(spectrum, noise_filter).ravel() for spectrum in spectra]
        return np.array([[float((a * variance.ravel()) @ b) for b in images] for a in images])
    weight = 2.0 * power  # modes of the half plane stand for two, but for its first and last column
    weight[:, [0, -1]] *= 0.5
    spectra = spectra.reshape(len(spectra), -1)
    size = model.shape[0] * model.shape[1]
    return np.asarray(variance * ((spectra * weight.ravel()) @ np.conj(spectra.T)).real / size)


def _attenuation(
    model: ForwardModel,
    point: tuple[float, float, float, float],
    scale: float,
    names: Sequence[str],
    noise_filter: Planes,
    power: Array,
) -> Array:
    """Gradient of half of chi squared by the parameters that HST noise of variance one per pixel causes
    in the mean; known, so what it does to the parameters is undone.
    """
    out = np.zeros(len(names))
    for i, name in enumerate(names):
        if name == "scale":
            out[i] = scale * model.noise_covariance(power)[0, 0]
        elif name in ("fwhm", "beta"):
            other = model.noise_filter(*point, psf=f"by_{name}")
            cross = model.noise_power(other, noise_filter)
            out[i] = scale**2 * model.noise_covariance(cross)[0, 0]
    return out
