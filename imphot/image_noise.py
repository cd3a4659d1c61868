# SPDX-License-Identifier: BSD-3-Clause
"""Noise of the two images and what it does to the parameters of a fit in the image plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["NoiseBudget", "hst_noise_level", "parameter_covariance", "residual_autocovariance"]

LAGS = 3  # correlations of the MUSE noise are looked for up to this many pixels


@dataclass
class NoiseBudget:
    """Covariance of the free parameters, its parts and the shift that HST noise causes."""

    covariance: np.ndarray
    muse_part: np.ndarray
    hst_part: np.ndarray
    bias: np.ndarray
    inflation: float
    hst_sigma: float


BLOCK = 16  # fine pixels; the HST noise is taken from the quietest blocks of this size
QUIET = 20.0  # percentile of the block variances that is used


def hst_noise_level(fine, step, covered):
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


def _block_variances(image, step, covered):
    from scipy import ndimage

    band = ndimage.gaussian_filter(image, 0.1 / step, mode="wrap") - ndimage.gaussian_filter(
        image, 0.25 / step, mode="wrap"
    )
    ny, nx = (n // BLOCK for n in band.shape)
    if not (ny and nx):
        return np.zeros(0)

    def blocks(plane):
        return (
            plane[: ny * BLOCK, : nx * BLOCK]
            .reshape(ny, BLOCK, nx, BLOCK)
            .swapaxes(1, 2)
            .reshape(ny * nx, BLOCK**2)
        )

    return blocks(band)[blocks(covered).all(axis=1)].var(axis=1)


@lru_cache(maxsize=8)
def _white_reference(step):
    noise = np.random.default_rng(20160501).standard_normal((768, 768))
    return float(np.percentile(_block_variances(noise, step, np.ones(noise.shape, bool)), QUIET))


def residual_autocovariance(residual, used, lags=LAGS):
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
    return out


def parameter_covariance(model, point, scale, jacobian, names, residual, used, sigma, hst_variance):
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
    from scipy import ndimage

    normal = jacobian.T @ jacobian
    inverse = np.linalg.pinv(normal, hermitian=True)
    measured = residual_autocovariance(residual, used)
    noise_filter = model.noise_filter(*point)
    mean_variance = float(np.mean(hst_variance))
    expected = np.zeros_like(measured)
    hst_part = np.zeros_like(normal)
    bias = np.zeros(len(names))
    weights = np.where(used, 1.0 / sigma, 0.0)
    if mean_variance > 0:
        expected = (
            _hst_autocovariance(model, noise_filter) * mean_variance * scale**2 * np.mean(weights[used] ** 2)
        )
        images = []
        for column in jacobian.T:
            plane = np.zeros(used.shape)
            plane[used] = column
            images.append(model.transpose(plane * weights, noise_filter))
        for i, a in enumerate(images):
            for j, b in enumerate(images[: i + 1]):
                hst_part[i, j] = hst_part[j, i] = scale**2 * float(np.sum(a * b * hst_variance))
        bias = _attenuation(
            model, point, scale, names, noise_filter, mean_variance, float(np.sum(weights**2)), inverse
        )
    kernel = measured - np.where(measured != 0.0, expected, 0.0)
    centre = kernel[LAGS, LAGS]
    if not centre > 0.2 * measured[LAGS, LAGS]:
        kernel[LAGS, LAGS] = 0.2 * measured[LAGS, LAGS]
    muse_part = np.zeros_like(normal)
    smoothed = []
    for column in jacobian.T:
        plane = np.zeros(used.shape)
        plane[used] = column
        smoothed.append(ndimage.correlate(plane, kernel, mode="constant")[used])
    muse_part = jacobian.T @ np.array(smoothed).T
    muse_part = 0.5 * (muse_part + muse_part.T)
    floor = 0.5 * kernel[LAGS, LAGS] * normal
    if np.any(np.diag(muse_part) < np.diag(floor)):  # negative correlations measured by chance
        muse_part = np.maximum(np.diag(muse_part), np.diag(floor)) / np.diag(normal)
        muse_part = np.sqrt(np.outer(muse_part, muse_part)) * normal
    freedom = used.sum() / max(used.sum() - len(names), 1)
    covariance = inverse @ (muse_part * freedom + hst_part) @ inverse
    inflation = float(np.sqrt(np.mean(np.diag(muse_part) / np.diag(normal))))
    return NoiseBudget(covariance, muse_part, hst_part, bias, inflation, float(np.sqrt(mean_variance)))


def _hst_autocovariance(model, noise_filter):
    """Autocovariance in the model of white HST noise of variance one per fine pixel, at lags of MUSE
    pixels.
    """
    from scipy import fft

    fine = fft.irfft2(np.abs(noise_filter) ** 2, model.fine_shape)
    index = 2 * np.arange(-LAGS, LAGS + 1)
    return fine[np.ix_(index, index)]


def _attenuation(model, point, scale, names, noise_filter, variance, weight, inverse):
    """Shift of the parameters because the noise of HST enters the model: known in the mean, so to be
    undone.
    """
    gradient = np.zeros(len(names))
    turned = model.inverse * model.turn(point[0], point[1])
    for i, name in enumerate(names):
        if name == "scale":
            gradient[i] = scale * model.noise_power(noise_filter, noise_filter)
        elif name in ("fwhm", "beta"):
            other = turned * model.psf(f"by_{name}", point[2], point[3])
            gradient[i] = scale**2 * model.noise_power(other, noise_filter)
    return -inverse @ (gradient * variance * weight)
