# SPDX-License-Identifier: BSD-3-Clause
"""Images of arcs with the slices side by side, before there is a geometry (``resample``)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from muse_core.detector.image import DetectorImage
from muse_core.detector.pixels import PixelMap, build_pixel_map
from muse_core.detector.rows import (
    RowWavelengths,
    SliceRows,
    row_wavelengths,
    slice_rows,
    slice_windows,
    table_extent,
)
from muse_core.detector.tables import NSLICE, SliceGeometry
from muse_core.framework.products import Card
from muse_core.resampling.stacked import StackedLayout, add_stacked_rows, finish_stacked, stacked_cards

WIDTH, DISTANCE = 75.0, np.float32(82.2)  # pixels of the field; measured against 2.8.7
STEP = 1.25  # Angstrom
KEYS, SUMS = 32 * 64, 4  # of the stacked image: IFU * 64 + slice
EVERYTHING = (-np.inf, np.inf)
OF_EXTENSION = ("INHERIT", "EXTNAME", "HDUCLASS", "HDUDOC", "HDUVERS", "HDUCLAS1", "HDUCLAS2")


def nominal_geometry() -> SliceGeometry:
    """Slices of 75 pixels in one row, as 2.8.7 places them without a geometry table."""
    # measured against 2.8.7: in single precision, which decides some ties between columns
    places = np.arange(NSLICE, dtype=np.float32) * DISTANCE + np.float32(0.5) * DISTANCE
    nothing = np.zeros(NSLICE)
    return SliceGeometry(places.astype(np.float64), nothing, nothing, np.full(NSLICE, WIDTH))


def straight_image(
    image: DetectorImage,
    ifu: int,
    traces: npt.NDArray[np.float64],
    wave: npt.NDArray[np.float64],
    mode: str,
) -> tuple[npt.NDArray[np.float32], list[Card]]:
    """Resample the image of an IFU with its own wavelengths.

    Parameters
    ----------
    image : DetectorImage
    ifu : int
    traces : float64[48, 2, n]
        Polynomials of left and right edge.
    wave : float64[48, i, j]
        Wavelength solutions; a slice of NaN is left out.
    mode : str
        ``ESO INS MODE``.

    Returns
    -------
    image : float32[wavelengths, columns]
    cards : list
        Its axes and unit.
    """
    pixels = build_pixel_map(ifu, image.shape, traces, wave, nominal_geometry(), mode)
    wavelengths = row_wavelengths(pixels)
    x0, x1, _, _, low, high = table_extent(pixels, wavelengths, EVERYTHING).limits
    layout = StackedLayout(
        1.0, np.full(KEYS, x0), np.zeros(KEYS, np.int64), math.ceil(x1 - x0) + 1,
        math.ceil((high - low) / STEP) + 1, float(low), STEP,
    )  # fmt: skip
    straight = np.zeros((layout.ny, layout.nx), np.float32)
    for rows in _slices(image, pixels, wavelengths):
        _put_slice(rows, layout, straight)
    cards = [card for card in stacked_cards(layout, "count") if card[0] not in OF_EXTENSION]
    return straight, cards


def _put_slice(rows: SliceRows, layout: StackedLayout, straight: npt.NDArray[np.float32]) -> None:
    """Resample one slice into the columns that are its own."""
    first, last = (
        int(np.floor(end - layout.position[0] + 0.5)) for end in (rows.xpos.min(), rows.xpos.max())
    )
    sums = np.zeros((layout.ny, last - first + 1, SUMS))
    add_stacked_rows(
        rows.xpos, rows.lam, rows.data, rows.dq, rows.origin, layout.position, layout.column - first,
        layout.step, layout.lambda_min, layout.dlambda, 0, sums,
    )  # fmt: skip
    straight[:, first : last + 1] = finish_stacked(sums)


def _slices(image: DetectorImage, pixels: PixelMap, wavelengths: RowWavelengths) -> Iterator[SliceRows]:
    for numbers, window in slice_windows(pixels):
        part = image.window(window)
        for s in numbers:
            yield slice_rows(part, pixels, s, wavelengths.of_slice(s), x0=window.x0)
