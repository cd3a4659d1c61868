# SPDX-License-Identifier: BSD-3-Clause
"""Images folded with round kernels, by Fourier transforms of twice the size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float64]


class Smearing:
    """Folds images of one size.

    Parameters
    ----------
    shape : ny, nx of the images
    dtype : of what is folded; float32 takes half the time

    Examples
    --------
    >>> spread = Smearing((5, 7))
    >>> point = np.zeros((5, 7))
    >>> point[2, 3] = 1.0
    >>> [star] = spread.images(point, [spread.transform(spread.moffat(2.0, 2.0))])
    >>> bool(star.argmax() == point.argmax()), bool(np.isclose(star[2, 1], star[2, 5]))
    (True, True)
    """

    def __init__(self, shape: tuple[int, ...], dtype: type = np.float64) -> None:
        ny, nx = self._shape = shape
        self._dtype = dtype
        self._size = (_fast_length(2 * ny), _fast_length(2 * nx))
        y, x = (np.minimum(np.arange(n), n - np.arange(n)) for n in self._size)
        self._r2 = (y[:, np.newaxis] ** 2 + x**2).astype(np.float64)

    def gaussian(self, sigma: float) -> Image:
        """Return a kernel by its width [spaxels]."""
        return np.asarray(np.exp(-0.5 * self._r2 / sigma**2))

    def moffat(self, radius: float, exponent: float) -> Image:
        """Return the kernel (1 + (r / radius)^2)^-exponent."""
        return np.asarray((1.0 + self._r2 / radius**2) ** -exponent)

    def transform(self, kernel: Image, power: int = 1) -> npt.NDArray[np.complexfloating]:
        """Return the transform of a kernel of sum 1 (or of its square)."""
        return np.fft.rfft2((kernel / kernel.sum()).astype(self._dtype) ** power)

    def images(
        self, image: npt.NDArray[np.floating], transforms: list[npt.NDArray[np.complexfloating]]
    ) -> list[Image]:
        """Return the image folded with each kernel."""
        transform = np.fft.rfft2(image, s=self._size)
        ny, nx = self._shape
        columns = (np.fft.ifft(transform * kernel, axis=0) for kernel in transforms)
        return [np.fft.irfft(column[:ny], n=self._size[1])[:, :nx] for column in columns]


def _fast_length(least: int) -> int:
    """Return the smallest even number from `least` on that has no prime factors but 2, 3 and 5.

    (scipy.fft has such a function, but importing it takes as long as all transforms of an exposure.)

    >>> _fast_length(302), _fast_length(620)
    (320, 640)
    """
    for length in range(least + least % 2, 2 * least + 2, 2):
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
    raise ValueError(f"{least} is no length")
