# SPDX-License-Identifier: BSD-3-Clause
"""Measure residual atmospheric refraction from point sources, and correct it.

The caller resamples the exposure to a cube of wide planes in pixel coordinates (`PLANE_STEP`), passes an
image near the reference wavelength to `find_sources` and then every plane, in any order, to
`CentroidTrack.add`.  Only the centroids are kept.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.postproc.exposure.correction import Card, Skipped
from muse_core.postproc.refraction.gaussian_centroid import fit_gaussian
from muse_core.postproc.refraction.shift_kernels import shift_by_polynomials

Floats = npt.NDArray[np.float64]
Column = npt.NDArray[np.float32]

PLANE_STEP = 10.0
"""Thickness of the planes [Angstrom]."""
ORDER_RESIDUAL, ORDER_UNCORRECTED = 2, 4
"""Order of the polynomial after a theoretical correction, and without one."""
THRESHOLDS = (50.0, 30.0, 10.0, 8.0, 6.0, 5.0)
"""Detection limits [sigma], tried one after the other."""
HALF_WINDOW = 6
MAX_SOURCES = 20
CLIP = 3.0
"""Centroids further from the polynomial than this many standard deviations are left out."""
_SPAXEL_ARCSEC = 0.2
_KEY = "ESO DRS MUSE PIXTABLE DAR"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Point source in 0-based pixels of the image."""

    x: float
    y: float
    flux: float


def find_sources(image: npt.ArrayLike, log: logging.Logger = _log) -> tuple[Source, ...]:
    """Detect sources with falling thresholds; the first threshold that gives any is used.

    Parameters
    ----------
    image : float[ny, nx]
        Image near the reference wavelength, NaN where empty.
    log : logging.Logger
        Takes the messages.

    Returns
    -------
    tuple of Source
        The brightest ones first, `MAX_SOURCES` at most.
    """
    from scipy import ndimage

    values = np.asarray(image, dtype=np.float64)
    good = np.isfinite(values)
    if not good.any():
        return ()
    median = float(np.median(values[good]))
    sigma = 1.4826 * float(np.median(np.abs(values[good] - median)))
    excess = np.where(good, values - median, 0.0)
    for threshold in THRESHOLDS:
        above = ndimage.binary_opening(excess > threshold * sigma, np.ones((3, 3)))
        labels, number = ndimage.label(above, np.ones((3, 3)))
        if number == 0:
            continue
        index = np.arange(1, number + 1)
        flux = ndimage.sum_labels(excess, labels, index)
        centre = ndimage.center_of_mass(excess, labels, index)
        sources = [Source(float(x), float(y), float(f)) for (y, x), f in zip(centre, flux, strict=True)]
        sources.sort(key=lambda source: -source.flux)
        log.info("The %.1f sigma threshold was used to find %d sources", threshold, number)
        return tuple(sources[:MAX_SOURCES])
    log.warning("No sources found for DAR check down to %.1f sigma limit", THRESHOLDS[-1])
    return ()


class CentroidTrack:
    """Centroids of the sources in every plane."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self._planes: list[tuple[float, npt.NDArray[np.float64]]] = []

    def add(self, wavelength: float, data: npt.NDArray, stat: npt.NDArray) -> None:
        """Measure all sources in one plane.

        Parameters
        ----------
        wavelength : float
            Centre of the plane [Angstrom].
        data, stat : float[ny, nx]
            Values and variances, NaN where empty.
        """
        centroids = np.full((len(self.sources), 2), np.nan)
        for k, source in enumerate(self.sources):
            centroids[k] = _measure(source, data, stat)
        self._planes.append((wavelength, centroids))

    def merge(self, other: CentroidTrack) -> None:
        """Add the planes measured by another object."""
        self._planes += other._planes

    def series(self) -> tuple[Floats, Floats]:
        """Wavelengths float64[n], increasing, and centroids float64[n, n_source, 2], NaN where failed."""
        ordered = sorted(self._planes, key=lambda plane: plane[0])
        lam = np.array([plane[0] for plane in ordered])
        shape = (lam.size, len(self.sources), 2)
        return lam, np.array([plane[1] for plane in ordered]).reshape(shape)


def _measure(source: Source, data: npt.NDArray, stat: npt.NDArray) -> tuple[float, float]:
    ny, nx = data.shape
    ix, iy = round(source.x), round(source.y)
    x0, x1 = max(ix - HALF_WINDOW, 0), min(ix + HALF_WINDOW + 1, nx)
    y0, y1 = max(iy - HALF_WINDOW, 0), min(iy + HALF_WINDOW + 1, ny)
    if x1 - x0 < 3 or y1 - y0 < 3:
        return math.nan, math.nan
    x, y = fit_gaussian(data[y0:y1, x0:x1], stat[y0:y1, x0:x1], source.x - x0, source.y - y0)
    return x + x0, y + y0


@dataclass(frozen=True)
class DarCheck:
    """Residual refraction as polynomials of wavelength."""

    name: ClassVar[str] = "residual"
    moves: ClassVar[bool] = True
    stretch: ClassVar[float] = 1.0

    reference: float
    """Wavelength [Angstrom] at which the shift is zero."""
    x_coefficients: tuple[float, ...]
    y_coefficients: tuple[float, ...]
    """Increasing powers of (lambda - reference) / 1000 A, without the constant; pixels."""
    largest: float
    """Largest residual offset over the planes [arcsec]."""
    corrected: bool = True
    """Whether a theoretical correction was made before."""

    def shift(self, lam: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Offsets of a source from its place at the reference wavelength [pix]."""
        t = (np.asarray(lam, dtype=np.float64) - self.reference) / 1000.0
        polyval = np.polynomial.polynomial.polyval
        x, y = (polyval(t, (0.0, *c)) for c in (self.x_coefficients, self.y_coefficients))
        return np.asarray(x, np.float64), np.asarray(y, np.float64)

    def apply(self, block: Block) -> None:
        """Take the measured shifts out of a block."""
        apply_dar_check(block.xpos, block.ypos, block.lam, self)

    def check_cards(self) -> list[Card]:
        """Header cards of the check alone."""
        return [(f"{_KEY} CHECK", self.largest, "[arcsec] maximum residual DAR offsets found")]

    def cards(self) -> list[Card]:
        """Header cards of check and correction."""
        return [*self.check_cards(), (f"{_KEY} CORRECT RESIDUAL", self.reference, "[Angstrom]")]


def reference_plane(
    reference: float, first: float, n_planes: int, log: logging.Logger = _log
) -> tuple[float, int]:
    """Reference wavelength of the check and index (from 0) of the plane next to it.

    Parameters
    ----------
    reference : float
        ``lambdaref``; negative, or outside of the cube: the middle of the cube is used.
    first : float
        Wavelength of the first plane [Angstrom].
    n_planes : int
        Number of planes.
    log : logging.Logger
        Takes the messages.
    """
    last = first + PLANE_STEP * (n_planes - 1)
    used = reference
    if reference < 0.0:
        used = first + PLANE_STEP * n_planes / 2
        log.warning(
            "Data is not DAR corrected, using reference wavelength at %.3f Angstrom and polynomial order %d!",
            used,
            ORDER_UNCORRECTED,
        )
    elif not first <= reference <= last:
        used = first + PLANE_STEP * n_planes / 2
        log.warning("Reference wavelength %.3f is outside of the data, using %.3f Angstrom", reference, used)
    return used, min(max(round((used - first) / PLANE_STEP), 0), n_planes - 1)


def fit_dar_check(
    track: CentroidTrack, reference: float, *, corrected: bool, log: logging.Logger = _log
) -> DarCheck | Skipped:
    """Fit one polynomial per axis to the centroids of all sources (each with its own zero point).

    Parameters
    ----------
    track : CentroidTrack
        All planes.
    reference : float
        Wavelength [Angstrom] where the shift is defined as zero.
    corrected : bool
        Whether the theoretical correction was made; a polynomial of higher order is used otherwise.
    log : logging.Logger
        Takes the messages.

    Returns
    -------
    DarCheck or Skipped
        Skipped if there are too few centroids.
    """
    order = ORDER_RESIDUAL if corrected else ORDER_UNCORRECTED
    lam, centroids = track.series()
    usable = np.isfinite(centroids).all(axis=2) if lam.size else np.zeros((0, 0), bool)
    many = usable.sum(axis=0) > order + 1
    if not many.any():
        return Skipped(DarCheck.name, "no source with enough centroids", wanted=True)
    usable &= many
    t = (lam - reference) / 1000.0
    plane, source = np.nonzero(usable)
    zero_points = (source[:, np.newaxis] == np.flatnonzero(many)).astype(np.float64)
    design = np.hstack([t[plane, np.newaxis] ** np.arange(1, order + 1), zero_points])
    fits = [_clipped_solution(design, centroids[plane, source, axis]) for axis in (0, 1)]
    x, y = (tuple(float(c) for c in solution[:order]) for solution, _ in fits)
    check = DarCheck(reference, x, y, 0.0, corrected)
    largest = _SPAXEL_ARCSEC * max(float(np.ptp(shift)) for shift in check.shift(lam))
    log.info(
        "DAR check: largest residual offset %.4f arcsec from %d sources, scatter of the centroids %.4f pix",
        largest,
        int(many.sum()),
        math.hypot(*(scatter for _, scatter in fits)),
    )
    return DarCheck(reference, x, y, largest, corrected)


def _clipped_solution(design: Floats, values: Floats) -> tuple[Floats, float]:
    """Least-squares solution without outliers beyond three standard deviations, and the scatter."""
    while True:
        solution = np.linalg.lstsq(design, values, rcond=None)[0]
        residual = np.abs(values - design @ solution)
        scatter = float(np.sqrt((residual**2).mean()))
        keep = residual <= CLIP * scatter
        if keep.all() or keep.sum() <= design.shape[1]:
            return np.asarray(solution, np.float64), scatter
        design, values = design[keep], values[keep]


def apply_dar_check(xpos: Column, ypos: Column, lam: Column, model: DarCheck) -> None:
    """Take out the measured shifts of a block of rows, in place (float32[n] arrays)."""
    shift_by_polynomials(
        xpos, ypos, lam, model.reference, np.array(model.x_coefficients), np.array(model.y_coefficients)
    )
