# SPDX-License-Identifier: BSD-3-Clause
"""The spectrum of a star from a cube on the pixel grid."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muse_core.framework.team import in_order
from muse_core.postproc.flatfield.spectrum import RANGES
from muse_core.standard import extraction_kernels as kernels
from muse_core.standard.response import clipped_polynomial, evaluate
from muse_core.stars.profile_kernels import AX, AY, BETA, RHO, X, Y

if TYPE_CHECKING:
    from muse_core.data.curves import Floats
    from muse_core.stars.cube import StarCube
    from muse_core.stars.detection import Star

METHODS = {
    "circle": kernels.CIRCLE,
    "square": kernels.SQUARE,
    "gaussian": kernels.FIT_GAUSSIAN,
    "moffat": kernels.FIT_MOFFAT,
    "smoffat": kernels.FIT_MOFFAT,
}
EDGE = 5.0
"""Pixels that stay free between aperture and edge of the image."""
NO_NOTCH = (0.0, 0.0)
NOTCH = {mode: spans.gap or NO_NOTCH for mode, spans in RANGES.items() if spans.gap is not None} | {
    "NFM-AO-N": (5780.0, 6050.0)
}
"""Wavelengths [Angstrom] whose shapes of a star are not looked at."""
SHAPE = (BETA, X, Y, AX, AY, RHO)
"""Parameters of a profile, in the order in which they are smoothed."""
ORDER, CLIP = 2, 3.0
PLANES = 64
TOLERANCE, TIMES, STEPS = 1e-9, 3, 300


@dataclass(frozen=True)
class StarSpectrum:
    """What was measured of a star in each plane.

    Parameters
    ----------
    star : Star
    flux, error : float64[n]
        counts and their standard deviation; error -1 where a plane failed
    sizes : float64[n, 2]
        width of the star, radius or half size of the aperture [pixel]
    shapes : float64[n, 9]
        parameters of the profile (`muse_core.stars.profile_kernels`), and chi-square; NaN without a fit
    """

    star: Star
    flux: Floats
    error: Floats
    sizes: Floats
    shapes: Floats

    @property
    def good(self) -> int:
        """Number of planes that did not fail."""
        return int(np.count_nonzero(self.error >= 0.0))


def chosen_profile(profile: str, *, narrow_field: bool) -> str:
    """Return the way in which the flux is measured, also where the choice is left to us.

    >>> chosen_profile("auto", narrow_field=False), chosen_profile("auto", narrow_field=True)
    ('smoffat', 'circle')
    """
    if profile != "auto":
        return profile
    return "circle" if narrow_field else "smoffat"


def largest_size(star: Star, nx: int, ny: int) -> float:
    """Return the largest half size of an aperture about a star [pixel]."""
    return min(nx - star.x, ny - star.y, star.x - 1.0, star.y - 1.0) - EDGE


def extract(
    cube: StarCube, star: Star, profile: str, reference: float, mode: str, threads: int, log: logging.Logger
) -> StarSpectrum:
    """Measure a star in all planes of a cube.

    Parameters
    ----------
    profile : {"circle", "square", "gaussian", "moffat", "smoffat"}
    reference : float
        width of the star [pixel]; apertures are at least as large as it asks for
    mode : str
        of the instrument
    """
    nz, ny, nx = cube.data.shape
    flux, error = np.zeros(nz), np.full(nz, -1.0)
    sizes, shapes = np.zeros((nz, 2)), np.full((nz, 9), np.nan)
    edge = largest_size(star, nx, ny)
    method = METHODS[profile]
    if edge > 0.0:

        def measure(first: int) -> None:
            part = slice(first, min(first + PLANES, nz))
            kernels.measure_planes(
                *cube.planes(part.start, part.stop), star.x, star.y, *star.pixel, reference, edge, method,
                TOLERANCE, TIMES, STEPS, flux[part], error[part], sizes[part], shapes[part],
            )  # fmt: skip

        _on_threads(measure, nz, threads)
    spectrum = StarSpectrum(star, flux, error, sizes, shapes)
    if profile == "smoffat":
        spectrum = _with_smooth_shapes(cube, spectrum, mode, threads, log)
    return spectrum


def _on_threads(work: Callable[[int], None], planes: int, threads: int) -> None:
    for _ in in_order(work, iter(range(0, planes, PLANES)), threads):
        pass


def smooth_shapes(lam: Floats, shapes: Floats, good: np.ndarray) -> Floats | None:
    """Return the shapes of all planes as parabolas in wavelength, None where too few planes are left.

    Planes that one parameter rejects have no part in the parameters that follow (measured against 2.8.7).

    Parameters
    ----------
    lam : float64[n]
    shapes : float64[n, 8]
    good : bool[n]
        planes that are believed
    """
    smooth = np.zeros((lam.size, 8))
    left = np.flatnonzero(good)
    for number in SHAPE:
        fit = clipped_polynomial(lam[left], shapes[left, number], ORDER, CLIP)
        if fit is None:
            return None
        coefficients, kept, _ = fit
        smooth[:, number] = evaluate(coefficients, lam)
        left = left[kept]
    return smooth


def _with_smooth_shapes(
    cube: StarCube, spectrum: StarSpectrum, mode: str, threads: int, log: logging.Logger
) -> StarSpectrum:
    """Measure the fluxes again with shapes that vary smoothly with wavelength."""
    lam = cube.wavelengths
    low, high = NOTCH.get(mode, NO_NOTCH)
    good = (spectrum.error >= 0.0) & ~((lam >= low) & (lam <= high) & (high > low))
    smooth = smooth_shapes(lam, spectrum.shapes[:, :8], good)
    if smooth is None:
        log.warning(
            "only %d planes with a good fit of the profile: fluxes are those of single planes",
            np.count_nonzero(good),
        )
        return spectrum
    half = float(spectrum.sizes[good, 1].max())
    flux, error = np.zeros(lam.size), np.full(lam.size, -1.0)
    star = spectrum.star

    def measure(first: int) -> None:
        part = slice(first, min(first + PLANES, lam.size))
        data, stat = cube.planes(part.start, part.stop)
        kernels.fluxes_of_shapes(data, stat, smooth[part], star.x, star.y, half, flux[part], error[part])

    _on_threads(measure, lam.size, threads)
    shapes = np.column_stack([smooth, spectrum.shapes[:, 8]])
    return StarSpectrum(star, flux, error, spectrum.sizes, shapes)
