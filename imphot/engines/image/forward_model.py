# SPDX-License-Identifier: BSD-3-Clause
"""The forward model of the `image` engine: the sky seen by HST, seen again through the MUSE PSF.

Everything is computed on a grid twice as fine as the MUSE pixels that reaches 4 arcsec beyond them; the
spectrum is folded to the MUSE pixels, so the values are those of the continuous model at the pixel centres.

The PSF of MUSE is a Moffat function, to which parts of two others of the same width can be added: the profile
of long exposures through turbulence, and a wing, which is a Moffat function of the index 11/6 (its light
falls with r^(-11/3), as does that of turbulence). All have the same width at half maximum, so has their sum.

Spectra are kept as four planes ``[a, b]``: the frequencies that fall together on the MUSE pixels lie on top
of each other, so that folding is a sum, and a plane is small enough for the cache of a processor core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.moffat import MoffatOtf, otf_closed

__all__ = ["FRAME", "ForwardModel", "HstTransfer", "grid_size"]

Array: TypeAlias = npt.NDArray[np.float64]
Planes: TypeAlias = npt.NDArray[np.complex128]  # [2, 2, ny, nx // 2 + 1]
HstTransfer: TypeAlias = Callable[[Array, Array], npt.NDArray[np.complex128]]

FRAME = 4.0  # arcsec of sky kept around the MUSE pixels
OVERSAMPLE = 2
PLANES = ((0, 0), (0, 1), (1, 0), (1, 1))
WING_BETA = 11.0 / 6.0
OTF_FLOOR = 0.01  # the HST transfer function is taken to be at least this large when divided by


def grid_size(n: int, step: float) -> tuple[int, int]:
    """Length of the periodic grid [MUSE pixels] and number of pixels before the first MUSE pixel."""
    from scipy import fft

    border = int(np.ceil(FRAME / step))
    size = fft.next_fast_len((n + 2 * border + 1) // 2, real=True) * 2
    return size, border


def to_planes(half: Planes) -> Planes:
    """Half-plane spectrum of a fine real image -> four planes [a, b, ny, nx // 2 + 1].

    Rows of the planes a = 1 lie one sampling frequency lower than those of a = 0, columns likewise with b.
    """
    ny, nx = half.shape[0] // 2, half.shape[1] - 1
    out = np.empty((2, 2, ny, nx // 2 + 1), half.dtype)
    out[:, 0] = half[:, : nx // 2 + 1].reshape(2, ny, -1)
    mirrored = np.conj(
        half[:, : nx // 2 - 1 : -1]
    )  # columns -nx ... -nx // 2, rows still to be turned around
    out[:, 1, 0] = mirrored[[0, ny]]
    out[0, 1, 1:] = mirrored[:ny:-1]
    out[1, 1, 1:] = mirrored[ny - 1 : 0 : -1]
    return out


def from_planes(planes: Planes) -> Planes:
    """Four planes -> half-plane spectrum of a fine real image, the inverse of `to_planes`."""
    ny, nx = planes.shape[2], 2 * (planes.shape[3] - 1)
    half = np.empty((2 * ny, nx + 1), planes.dtype)
    half[:, : nx // 2 + 1] = planes[:, 0].reshape(2 * ny, -1)
    high = planes[:, 1].reshape(2 * ny, -1)[:, : nx // 2]  # the columns -nx ... -nx // 2 - 1
    half[0, : nx // 2 : -1] = np.conj(high[0])
    half[1:, : nx // 2 : -1] = np.conj(high[:0:-1])
    return half


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

    def __init__(
        self,
        fine: Array,
        steps: tuple[float, float],
        window: tuple[slice, slice],
        hst_moffat: tuple[float, float],
        hst_otf: HstTransfer | None = None,
        level: float = 0.0,
    ) -> None:
        from scipy import fft

        self.steps, self.window, self.level = steps, window, level
        self.fine_shape = fine.shape
        self.shape = ny, nx = fine.shape[0] // OVERSAMPLE, fine.shape[1] // OVERSAMPLE
        sy, sx = steps
        both = np.arange(2)[:, None]
        self.v = (np.arange(ny) - ny * both)[:, :, None] / (ny * sy)  # frequencies of the rows of planes a
        self.u = (np.arange(nx // 2 + 1) - nx * both)[:, None, :] / (nx * sx)  # of the columns of planes b
        radius = np.hypot(self.v[:, None], self.u)
        band = radius < 0.5 * OVERSAMPLE / max(sy, sx) * 0.9999
        otf = self._hst_transfer(radius, hst_moffat, hst_otf)
        self.inverse = np.where(band, 1.0 / otf, 0.0)
        self.spectrum = to_planes(fft.rfft2(fine - level)) * self.inverse
        # the radii of plane [0, 0] and their mirror images in the other planes: each is needed once
        quarter = np.hypot(np.arange(ny + 1)[:, None] / (ny * sy), np.arange(nx + 1) / (nx * sx))
        self.otf = MoffatOtf(quarter)
        self._memory: dict[str, Any] = {}

    def _hst_transfer(
        self, radius: Array, hst_moffat: tuple[float, float], hst_otf: HstTransfer | None
    ) -> npt.NDArray[Any]:
        if hst_otf is not None:
            otf = hst_otf(self.v[:, None], self.u)
            return np.where(np.abs(otf) < OTF_FLOOR, OTF_FLOOR, otf)
        table = np.linspace(0.0, float(radius.max()) * 1.0001, 8192)
        return np.maximum(np.interp(radius, table, otf_closed(table, *hst_moffat)), OTF_FLOOR)

    def psf(
        self, what: str, fwhm: float, beta: float, wing: float = 0.0, turbulence: float = 0.0
    ) -> list[list[Array]]:
        """Planes of the transfer function of the MUSE PSF: its "value", or its derivative "by_fwhm",
        "by_beta", "by_wing" or "by_turbulence" (remembered for one point).
        """
        if self._memory.get("psf_at") != (fwhm, beta, wing, turbulence):
            self._memory = {"psf_at": (fwhm, beta, wing, turbulence)}
        if what not in self._memory:
            ny, nx = self.shape
            quarter = self._quarter(what, fwhm, beta, wing, turbulence)
            rows = quarter[:ny], quarter[ny:0:-1]
            self._memory[what] = [[half[:, : nx // 2 + 1], half[:, nx : nx // 2 - 1 : -1]] for half in rows]
        planes: list[list[Array]] = self._memory[what]
        return planes

    def _quarter(self, what: str, fwhm: float, beta: float, wing: float, turbulence: float) -> Array:
        """The transfer function, or a derivative, at the radii of one quarter of the frequency plane."""
        if what == "by_wing":
            return self.otf.value(fwhm, WING_BETA) - self.otf.value(fwhm, beta)
        if what == "by_turbulence":
            return self.otf.turbulence(fwhm) - self.otf.value(fwhm, beta)
        part: Array = getattr(self.otf, what)(fwhm, beta)
        if wing or turbulence:
            part = (1.0 - wing - turbulence) * part
            if what == "value":
                part += wing * self.otf.value(fwhm, WING_BETA) + turbulence * self.otf.turbulence(fwhm)
            elif what == "by_fwhm":
                part += wing * self.otf.by_fwhm(fwhm, WING_BETA)
                part += turbulence * self.otf.turbulence_by_fwhm(fwhm)
        return part

    def forget(self) -> None:
        """Drop what is remembered."""
        self._memory = {}

    def moved(self, planes: npt.NDArray[Any], dx: float, dy: float) -> Planes:
        """Four planes of an image moved by dx and dy [arcsec]."""
        turn_y, turn_x = np.exp(-2j * np.pi * dy * self.v), np.exp(-2j * np.pi * dx * self.u)
        out = np.empty(planes.shape, complex)
        for a, b in PLANES:
            np.multiply(planes[a, b], turn_y[a], out=out[a, b])
            out[a, b] *= turn_x[b]
        return out

    def _parts(
        self, dx: float, dy: float, fwhm: float, beta: float, wing: float, turbulence: float
    ) -> tuple[list[Planes], list[Planes]]:
        """Sums of the planes of the model of scale one over a, for b = 0 and 1, and over b, for a = 0 and 1
        (remembered for one point).
        """
        psf = self.psf("value", fwhm, beta, wing, turbulence)
        if self._memory.get("at") != (dx, dy):
            moved = self.moved(self.spectrum, dx, dy)
            products = [[moved[a, b] * psf[a][b] for b in (0, 1)] for a in (0, 1)]
            self._memory["at"] = (dx, dy)  # of the PSF that is remembered
            self._memory["moved"] = moved
            self._memory["by_column"] = [products[0][b] + products[1][b] for b in (0, 1)]
            self._memory["by_row"] = [products[a][0] + products[a][1] for a in (0, 1)]
            self._memory.pop("plane", None)
        return self._memory["by_column"], self._memory["by_row"]

    def _on_pixels(self, folded: Planes) -> Array:
        """Folded spectrum -> image of the whole coarse grid."""
        from scipy import fft

        return np.asarray(fft.irfft2(folded, self.shape, overwrite_x=True) / OVERSAMPLE**2)

    def plane(
        self, dx: float, dy: float, fwhm: float, beta: float, wing: float = 0.0, turbulence: float = 0.0
    ) -> Array:
        """Model for scale one on the whole coarse grid, without the level of the HST image."""
        by_column, _ = self._parts(dx, dy, fwhm, beta, wing, turbulence)
        if "plane" not in self._memory:
            self._memory["plane"] = self._on_pixels(by_column[0] + by_column[1])
        plane: Array = self._memory["plane"]
        return plane

    def image(
        self, dx: float, dy: float, fwhm: float, beta: float, wing: float = 0.0, turbulence: float = 0.0
    ) -> Array:
        """Model for scale one on the MUSE pixels."""
        return np.asarray(self.plane(dx, dy, fwhm, beta, wing, turbulence)[self.window] + self.level)

    def derivative(
        self,
        name: str,
        dx: float,
        dy: float,
        fwhm: float,
        beta: float,
        wing: float = 0.0,
        turbulence: float = 0.0,
    ) -> Array:
        """Derivative of the model for scale one by dx, dy, fwhm, beta, wing or turbulence."""
        by_column, by_row = self._parts(dx, dy, fwhm, beta, wing, turbulence)
        if name == "dx":
            folded = (by_column[0] * self.u[0] + by_column[1] * self.u[1]) * -2j * np.pi
        elif name == "dy":
            folded = (by_row[0] * self.v[0] + by_row[1] * self.v[1]) * -2j * np.pi
        else:
            moved, psf = self._memory["moved"], self.psf(f"by_{name}", fwhm, beta, wing, turbulence)
            folded = sum(moved[a, b] * psf[a][b] for a, b in PLANES)
        return self._on_pixels(folded)[self.window]

    def seen(self, fine: Array, fwhm: float, beta: float) -> Array:
        """Any image of the fine grid as it is seen through the MUSE PSF on the MUSE pixels."""
        from scipy import fft

        planes, psf = to_planes(fft.rfft2(fine)), self.psf("value", fwhm, beta)
        return self._on_pixels(sum(planes[a, b] * psf[a][b] for a, b in PLANES))[self.window]

    # noise of the HST image: white noise passes the filter below before it reaches the model

    def noise_filter(
        self,
        dx: float,
        dy: float,
        fwhm: float,
        beta: float,
        wing: float = 0.0,
        turbulence: float = 0.0,
        psf: str = "value",
    ) -> Planes:
        """Planes of the transfer function from the HST image to the model, or of its derivative."""
        out = self.moved(self.inverse, dx, dy)
        factors = self.psf(psf, fwhm, beta, wing, turbulence)
        for a, b in PLANES:
            out[a, b] *= factors[a][b]
        return out

    def noise_power(self, filter_a: Planes, filter_b: Planes) -> Array:
        """Power spectrum Re(a conj(b)) of filtered white noise on the MUSE pixels, coarse half plane."""
        power = sum(filter_a[p].real * filter_b[p].real + filter_a[p].imag * filter_b[p].imag for p in PLANES)
        return np.asarray(power / OVERSAMPLE**2)

    def noise_covariance(self, power: Array) -> Array:
        """Autocovariance on the whole coarse grid that belongs to a power spectrum."""
        from scipy import fft

        return np.asarray(fft.irfft2(power, self.shape))

    def spectrum_of(self, pixels: Array) -> Planes:
        """Coarse half-plane spectrum of an image on the MUSE pixels, zero outside of them."""
        from scipy import fft

        whole = np.zeros(self.shape)
        whole[self.window] = pixels
        return np.asarray(fft.rfft2(whole))

    def transpose(self, spectrum: Planes, noise_filter: Planes) -> Array:
        """Adjoint of the noise filter: spectrum of an image on the MUSE pixels -> image on the fine grid."""
        from scipy import fft

        return np.asarray(fft.irfft2(from_planes(spectrum * np.conj(noise_filter)), self.fine_shape))
