# SPDX-License-Identifier: BSD-3-Clause
"""The forward model of the `image` engine: the sky seen by HST, seen again through the MUSE PSF.

Everything is computed on a grid twice as fine as the MUSE pixels that reaches 4 arcsec beyond them; the
spectrum is folded to the MUSE pixels, so the values are those of the continuous model at the pixel centres.
"""

from __future__ import annotations

import numpy as np

from .moffat import MoffatOtf, otf_closed

__all__ = ["FRAME", "ForwardModel", "grid_size"]

FRAME = 4.0  # arcsec of sky kept around the MUSE pixels
OVERSAMPLE = 2
OTF_FLOOR = 0.01  # the HST transfer function is taken to be at least this large when divided by


def grid_size(n, step):
    """Length of the periodic grid [MUSE pixels] and number of pixels before the first MUSE pixel."""
    from scipy import fft

    border = int(np.ceil(FRAME / step))
    size = fft.next_fast_len((n + 2 * border + 1) // 2, real=True) * 2
    return size, border


class ForwardModel:
    """Model images and their derivatives for one field.

    Parameters
    ----------
    fine : float64[2 * ny, 2 * nx]
        HST image on the fine periodic grid, in flux per MUSE pixel
    steps : (float, float)
        MUSE pixel sizes along y and x [arcsec]
    window : (slice, slice)
        rows and columns of the MUSE pixels in the coarse grid
    hst_moffat : (float, float)
        width and index of the HST PSF
    hst_otf : callable, optional
        transfer function of the HST PSF at frequencies (v, u) [cycles / arcsec], instead of the Moffat
    level : float
        value of the HST image far from any source; it is kept out of the transforms
    """

    def __init__(self, fine, steps, window, hst_moffat, hst_otf=None, level=0.0):
        from scipy import fft

        self.steps, self.window, self.level = steps, window, level
        self.fine_shape = fine.shape
        self.shape = fine.shape[0] // OVERSAMPLE, fine.shape[1] // OVERSAMPLE
        sy, sx = steps
        self.v = fft.fftfreq(fine.shape[0], sy / OVERSAMPLE)[:, None]
        self.u = fft.rfftfreq(fine.shape[1], sx / OVERSAMPLE)[None, :]
        radius = np.hypot(self.v, self.u)
        self.band = radius < 0.5 * OVERSAMPLE / max(sy, sx) * 0.9999
        otf = self._hst_transfer(radius, hst_moffat, hst_otf)
        self.inverse = np.where(self.band, 1.0 / otf, 0.0)
        self.spectrum = fft.rfft2(fine - level) * self.inverse
        self.otf = MoffatOtf(radius[: fine.shape[0] // 2 + 1])  # negative frequencies mirror the others
        self._memory = {}

    def _hst_transfer(self, radius, hst_moffat, hst_otf):
        if hst_otf is not None:
            otf = hst_otf(self.v, self.u)
            size = np.abs(otf)
            return np.where(size < OTF_FLOOR, OTF_FLOOR, otf)
        table = np.linspace(0.0, float(radius.max()) * 1.0001, 8192)
        return np.maximum(np.interp(radius, table, otf_closed(table, *hst_moffat)), OTF_FLOOR)

    def psf(self, what, fwhm, beta):
        """Transfer function of the MUSE PSF: its "value", or its derivative "by_fwhm" or "by_beta"
        (remembered for one point).
        """
        if self._memory.get("psf_at") != (fwhm, beta):
            self._memory = {"psf_at": (fwhm, beta)}
        if what not in self._memory:
            half = getattr(self.otf, what)(fwhm, beta)
            self._memory[what] = np.concatenate([half, half[-2:0:-1]])
        return self._memory[what]

    def forget(self):
        """Drop what is remembered."""
        self._memory = {}

    def turn(self, dx, dy):
        """Phase factors of a move."""
        return np.exp(-2j * np.pi * dy * self.v) * np.exp(-2j * np.pi * dx * self.u)

    def fold(self, spectrum):
        """Half-plane spectrum of the fine grid -> image on the MUSE pixels."""
        from scipy import fft

        ny, nx = self.shape
        rows = spectrum[:ny] + spectrum[ny:]
        folded = rows[:, : nx // 2 + 1].copy()
        mirrored = np.conj(rows[:, : nx // 2 - 1 : -1])  # column k of it is the column nx - k
        folded[0] += mirrored[0]
        folded[1:] += mirrored[:0:-1]
        return fft.irfft2(folded, self.shape, overwrite_x=True)[self.window] / OVERSAMPLE**2

    def moved_spectrum(self, dx, dy, fwhm, beta):
        """Spectrum of the model for scale one (remembered for one point)."""
        key = (dx, dy, fwhm, beta)
        otf = self.psf("value", fwhm, beta)
        if self._memory.get("at") != key:
            self._memory["at"] = key
            self._memory["turned"] = self.spectrum * self.turn(dx, dy)
            self._memory["product"] = self._memory["turned"] * otf
        return self._memory["product"]

    def image(self, dx, dy, fwhm, beta):
        """Model for scale one on the MUSE pixels; the level of the HST image is added."""
        product = self.moved_spectrum(dx, dy, fwhm, beta)
        if self._memory.get("image_at") != (dx, dy, fwhm, beta):
            self._memory["image_at"] = (dx, dy, fwhm, beta)
            self._memory["image"] = self.fold(product) + self.level
        return self._memory["image"]

    def derivative(self, name, dx, dy, fwhm, beta):
        """Derivative of the model for scale one by dx, dy, fwhm or beta."""
        product = self.moved_spectrum(dx, dy, fwhm, beta)
        if name == "dx":
            return self.fold(product * (-2j * np.pi * self.u))
        if name == "dy":
            return self.fold(product * (-2j * np.pi * self.v))
        return self.fold(self._memory["turned"] * self.psf(f"by_{name}", fwhm, beta))

    # the filter that takes noise of the HST image to the model

    def noise_filter(self, dx, dy, fwhm, beta):
        """Transfer function from the HST image to the model."""
        return self.inverse * self.turn(dx, dy) * self.psf("value", fwhm, beta)

    def noise_power(self, filter_a, filter_b):
        """Mean of Re(a conj(b)) over the whole fine frequency plane."""
        product = (filter_a * np.conj(filter_b)).real
        total = 2.0 * product.sum() - product[:, 0].sum() - product[:, -1].sum()
        return float(total / (self.fine_shape[0] * self.fine_shape[1]))

    def transpose(self, weights, noise_filter):
        """Adjoint of the noise filter: image on the MUSE pixels -> image on the fine grid."""
        from scipy import fft

        spread = np.zeros(self.fine_shape)
        rows, columns = (slice(s.start * OVERSAMPLE, s.stop * OVERSAMPLE, OVERSAMPLE) for s in self.window)
        spread[rows, columns] = weights
        return fft.irfft2(fft.rfft2(spread) * np.conj(noise_filter), self.fine_shape)
