# SPDX-License-Identifier: BSD-3-Clause
"""Calibrated image to pixel-table rows: trace, wavelength, position in the field, origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muse_core.detector.tables import NSLICE, SliceGeometry, lost_slices
from muse_core.framework.kernels import njit

DQ_NOTCH = 0x08000000
NOTCH = {"WFM-AO-N": (5805.0, 5966.0), "WFM-AO-E": (5755.0, 6008.0), "NFM-AO-N": (5780.0, 6050.0)}
CROPS = {
    "NFM": 4750.0,
    "WFM-AO-E": 4600.0,
    "WFM-NOAO-E": 4600.0,
    "WFM-AO-N": 4700.0,
}  # begin of a mode's name: Angstrom
BLUE, RED = 4750.0, 9350.0


def crop_range(mode: str) -> tuple[float, float]:
    """Wavelengths that an instrument mode keeps (Angstrom).

    >>> crop_range("WFM-AO-N")
    (4700.0, 9350.0)
    """
    return next((blue for start, blue in CROPS.items() if mode.startswith(start)), BLUE), RED


@dataclass(frozen=True)
class PixelMap:
    """Where the light of every pixel of one IFU comes from.

    Attributes
    ----------
    ifu : int
    left, right : float64[48, ny]
        Slice edges per row (1-based pixels).
    first, last : int32[48, ny]
        First and last pixel (1-based, both included) inside the slice.
    wave : float64[48, ny, nx_power]
        Coefficients of powers of x per row.
    geometry : SliceGeometry
    offset : int32[48]
        Pixel from which ``origin`` counts x.
    notch : tuple of float
        Wavelength range spoilt by the sodium lasers; an empty one for other modes.
    lost : tuple of int
        Numbers of the slices without trace or wavelengths: they have no pixels.
    """

    ifu: int
    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    last: np.ndarray
    wave: np.ndarray
    geometry: SliceGeometry
    offset: np.ndarray
    notch: tuple[float, float]
    lost: tuple[int, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Slices that lack rows, and why."""
        failed = [f"slice {s} has no trace or no wavelength solution: it is left out" for s in self.lost]
        cut = [s for s in range(1, NSLICE + 1) if (self.last[s - 1] == 0).any() and s not in self.lost]
        return failed + [f"slice {s} leaves the detector and loses rows" for s in cut]


def _powers(rows: np.ndarray, n: int) -> np.ndarray:
    return rows[:, None] ** np.arange(n)


def build_pixel_map(
    ifu: int, shape: tuple[int, int], trace: np.ndarray, wave: np.ndarray, geometry: SliceGeometry, mode: str
) -> PixelMap:
    """Evaluate the calibration of one IFU on its rows.

    Parameters
    ----------
    ifu : int
    shape : tuple of int
        ``(ny, nx)`` of the trimmed image.
    trace : float64[48, 2, n]
    wave : float64[48, i, j]
    geometry : SliceGeometry
    mode : str
        ``ESO INS MODE``, for the sodium notch.
    """
    ny, nx = shape
    lost = lost_slices(trace, wave)
    # edges that coincide: no pixel lies between them
    trace, wave = (np.where(lost[:, None, None], 0.0, table) for table in (trace, wave))
    rows = np.arange(1, ny + 1, dtype=np.float64)
    edges = np.einsum("sek,rk->esr", trace, _powers(rows, trace.shape[2]))
    left, right = np.ascontiguousarray(edges[0]), np.ascontiguousarray(edges[1])
    # measured against 2.8.7: a slice ends at the first row where one of its edges is outside the detector
    outside = np.logical_or.accumulate((left < 1) | (right > nx) | ~(left < right), axis=1)
    first = np.where(outside, nx + 1, np.ceil(left)).astype(np.int32)
    last = np.where(outside, 0, np.floor(right)).astype(np.int32)
    per_row = np.ascontiguousarray(np.einsum("sij,rj->sri", wave, _powers(rows, wave.shape[2])))
    offset = (np.floor(trace[:, 0].sum(axis=1)) - 20).astype(np.int32)
    notch = NOTCH.get(mode, (1.0, -1.0))
    without = tuple(int(s) + 1 for s in np.flatnonzero(lost))
    return PixelMap(ifu, left, right, first, last, per_row, geometry, offset, notch, without)


@njit(cache=True, nogil=True)
def wavelength_at(wave: np.ndarray, x: float) -> np.float32:
    """Wavelength (float32) of pixel ``x`` from the coefficients of its powers."""
    # highest power of x first (Horner)
    lam = 0.0
    for i in range(wave.size - 1, -1, -1):
        lam = lam * x + wave[i]
    return np.float32(lam)


@njit(cache=True, nogil=True)
def field_position(x: float, left: float, right: float, place: np.ndarray) -> tuple[np.float32, np.float32]:
    """Position in the field of pixel ``x`` between two slice edges; ``place`` as from `slice_place`."""
    # measured against 2.8.7: the distance from the middle of the slice is rounded to single precision
    distance = np.float64(np.float32((x - 0.5 * (left + right)) / (right - left) * place[2]))
    return np.float32(place[0] - distance * place[3]), np.float32(place[1] - distance * place[4])


def slice_place(geometry: SliceGeometry, s: int) -> np.ndarray:
    """x, y, width, cosine and sine of the angle of one slice (float64[5])."""
    angle = geometry.angle[s]
    return np.array([geometry.x[s], geometry.y[s], geometry.width[s], np.cos(angle), np.sin(angle)])


@njit(cache=True, nogil=True)
def gather_kernel(
    data: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    wave: np.ndarray,
    low: np.float32,
    high: np.float32,
    out: np.ndarray,
) -> int:
    """Copy the values of one slice between two wavelengths into ``out``; returns how many."""
    n = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            lam = wavelength_at(wave[y], x)
            if lam >= low and lam <= high:
                out[n] = data[y, x - 1]
                n += 1
    return n


def slice_medians(data: np.ndarray, pixels: PixelMap, low: float, high: float) -> np.ndarray:
    """Median of every slice within a wavelength range; NaN for a slice without pixels there."""
    medians = np.full(NSLICE, np.nan)
    for s in range(NSLICE):
        size = int(np.maximum(pixels.last[s] - pixels.first[s] + 1, 0).sum())
        out = np.empty(size, np.float32)
        n = gather_kernel(
            data, pixels.first[s], pixels.last[s], pixels.wave[s], np.float32(low), np.float32(high), out
        )
        if n:
            medians[s] = np.median(out[:n].astype(np.float64))
    return medians
