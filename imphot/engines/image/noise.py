# SPDX-License-Identifier: BSD-3-Clause
"""Noise of the two images and what it does to the parameters of a fit in the image plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.image.forward_model import ForwardModel

__all__ = [
    "NoiseBudget",
    "NoiseMatrices",
    "Point",
    "hst_noise_level",
    "noise_matrices",
    "residual_autocovariance",
]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Planes: TypeAlias = npt.NDArray[np.complex128]
Point: TypeAlias = tuple[float, float, float, float, float, float]  # dx, dy, fwhm, beta, wing, turbulence

LAGS = 3  # correlations of the MUSE noise are looked for up to this many pixels


@dataclass
class NoiseBudget:
    """Covariance of parameters, its parts and the shift that HST noise causes."""

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


def residual_autocovariance(residual: Array, used: Mask, lags: int = LAGS, significant: float = 3.0) -> Array:
    """Autocovariance of an image of residuals at small lags, over the used pixels.

    Lags at which the correlation is not significant (so many sigma) are set to zero.

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
    out[np.abs(out) < significant * zero / np.sqrt(pairs)] = 0.0
    out[lags, lags] = zero
    return np.asarray(out)


@dataclass
class NoiseMatrices:
    """What noise does to a set of linear parameters, of which any part can be solved for.

    Parameters
    ----------
    names : of the parameters
    normal : float64[n, n]
        J^T J of the derivatives J of model / sigma
    muse_part, hst_part : float64[n, n]
        covariance of the gradient J^T (data - model) / sigma that the noise of each image causes
    gradient : float64[n]
        its mean that HST noise causes
    inflation : float
        MUSE noise in the residuals over that of the variances
    hst_sigma : float
        HST noise per pixel of the fine grid
    """

    names: list[str]
    normal: Array
    muse_part: Array
    hst_part: Array
    gradient: Array
    inflation: float
    hst_sigma: float

    def budget(self, names: Sequence[str]) -> NoiseBudget:
        """Covariance of some of the parameters, the others held."""
        where = [self.names.index(name) for name in names]
        square = np.ix_(where, where)
        inverse = np.linalg.pinv(self.normal[square], hermitian=True)
        parts = [inverse @ part[square] @ inverse for part in (self.muse_part, self.hst_part)]
        bias = -inverse @ self.gradient[where]
        return NoiseBudget(parts[0] + parts[1], parts[0], parts[1], bias, self.inflation, self.hst_sigma)

    def step(self, names: Sequence[str], product: Array) -> Array:
        """Change of some of the parameters, the others held; product is J^T (data - model) / sigma of all."""
        where = [self.names.index(name) for name in names]
        inverse = np.linalg.pinv(self.normal[np.ix_(where, where)], hermitian=True)
        return np.asarray(inverse @ product[where])


def noise_matrices(
    model: ForwardModel,
    point: Point,
    scale: float,
    jacobian: Array,
    names: Sequence[str],
    residual: Array,
    used: Mask,
    sigma: Array,
    hst_variance: Array | float,
    like: Mapping[str, str] | None = None,
) -> NoiseMatrices:
    """What the noise that the residuals show, and that of HST, do to parameters.

    Parameters
    ----------
    model : ForwardModel
    point : (dx, dy, fwhm, beta, wing, turbulence)
        solution
    scale : float
        fitted scale
    jacobian : float64[npix, n]
        derivatives of model / sigma on the used pixels
    names : list of str
        parameters, columns of jacobian
    residual : float64[ny, nx]
        (data - model) / sigma, anything where not used
    used : bool[ny, nx]
    sigma : float64[ny, nx]
        standard deviations of the MUSE pixels
    hst_variance : float64[2 ny', 2 nx'] or float
        variance of white noise of the HST image per fine pixel
    like : mapping, optional
        parameters, the last ones of names, to which HST noise is taken to do in proportion what it does to
        another one (a transform for each is saved)
    """
    normal = jacobian.T @ jacobian
    planes: Array = np.zeros((len(names), *used.shape))
    planes[:, used] = jacobian.T
    weights = np.where(used, 1.0 / sigma, 0.0)
    kernel = residual_autocovariance(residual, used)
    own = len(names) - len(like or {})
    hst_part, gradient = np.zeros_like(normal), np.zeros(len(names))
    mean_variance = float(np.mean(hst_variance))
    if mean_variance > 0:
        noise_filter = model.noise_filter(*point)
        power = model.noise_power(noise_filter, noise_filter)
        hst_kernel = model.noise_covariance(power)[np.ix_(*[range(-LAGS, LAGS + 1)] * 2)]
        seen = mean_variance * scale**2 * np.mean(weights[used] ** 2) * hst_kernel
        share = _share_seen(residual, used, seen)
        mean_variance *= share
        exact = _hst_part(model, planes[:own] * weights, noise_filter, power, hst_variance)
        hst_part[:own, :own] = share * scale**2 * exact
        gradient = mean_variance * _attenuation(model, point, scale, names, noise_filter, power)
        kernel = _without(kernel, seen * share)
    muse_part = _muse_part(jacobian, planes, used, kernel, normal)
    if like:
        ratio = np.diag(hst_part) / np.diag(muse_part)
        factor = np.sqrt([ratio[names.index(like[name])] for name in names[own:]])
        hst_part[own:, own:] = np.outer(factor, factor) * muse_part[own:, own:]
    freedom = used.sum() / max(used.sum() - len(names), 1)
    inflation = float(np.sqrt(np.mean(np.diag(muse_part) / np.diag(normal))))
    return NoiseMatrices(
        list(names),
        normal,
        muse_part * freedom,
        hst_part,
        gradient * float(np.sum(weights**2)),
        inflation,
        float(np.sqrt(mean_variance)),
    )


def _share_seen(residual: Array, used: Mask, seen: Array) -> float:
    """How much of the HST noise that is expected the residuals can hold, between 0 and 1.

    HST noise comes through the wide PSF of MUSE, so it must show as a correlation of neighbouring pixels:
    where less of it is seen, the noise of the HST image was overestimated (by faint sources in its sky, or by
    an exposure time in its header that is not that of the image).
    """
    found = residual_autocovariance(residual, used, significant=0.0)
    away = np.ones(found.shape, bool)
    away[LAGS, LAGS] = False
    expected = seen[away]
    error = found[LAGS, LAGS] / np.sqrt(max(used.sum(), 1))  # of the covariance at one lag
    square = float(expected @ expected)
    if square <= (3.0 * error) ** 2:  # too little to be measured; then it hardly matters, too
        return 1.0
    return float(np.clip(found[away] @ expected / square + error / np.sqrt(square), 0.0, 1.0))


def _without(kernel: Array, hst_kernel: Array) -> Array:
    """Autocovariance of the residuals less the part that HST noise has in it."""
    zero = kernel[LAGS, LAGS]
    out = kernel - np.where(kernel != 0.0, hst_kernel, 0.0)
    out[LAGS, LAGS] = max(out[LAGS, LAGS], 0.2 * zero)
    return np.asarray(out)


def _muse_part(jacobian: Array, planes: Array, used: Mask, kernel: Array, normal: Array) -> Array:
    """Scatter of the gradient of chi squared that noise with a given autocovariance causes."""
    from scipy import ndimage

    if np.count_nonzero(kernel) == 1:  # neighbours share no noise
        return kernel[LAGS, LAGS] * normal
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
    point: Point,
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
        elif name in ("fwhm", "beta", "wing", "turbulence"):
            other = model.noise_filter(*point, psf=f"by_{name}")
            cross = model.noise_power(other, noise_filter)
            out[i] = scale**2 * model.noise_covariance(cross)[0, 0]
    return out
