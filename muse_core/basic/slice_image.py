# SPDX-License-Identifier: BSD-3-Clause
"""The image of all slices of one IFU side by side, position by wavelength (``resample``)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from muse_core.basic.table import IfuTable
from muse_core.framework.products import Card
from muse_core.resampling.stacked import StackedLayout, add_stacked_rows, finish_stacked, stacked_cards

KEYS = 32 * 64  # of the stacked image: IFU * 64 + slice
NOMINAL_STEP = 1.25  # Angstrom
SUMS = 4


def slice_image(table: IfuTable, dlambda: float) -> tuple[npt.NDArray[np.float32], list[Card]]:
    """Resample a pixel table into one image; each slice has its own columns of one pixel.

    Parameters
    ----------
    table : IfuTable
    dlambda : float
        Step in Angstrom; 0 is the nominal one.

    Returns
    -------
    image : float32[ny, nx]
    cards : list
        Keywords of its extension.
    """
    step = dlambda or NOMINAL_STEP
    low, high = table.lambda_limits
    ny = math.ceil((high - low) / step) + 1
    parts = []
    for rows in table.slices():
        key = int(rows.origin[0]) & (KEYS - 1)
        first, last = rows.xpos.min(), rows.xpos.max()
        nx = math.ceil(float(last - first)) + 1
        position, column = np.zeros(KEYS), np.full(KEYS, -1, np.int64)
        position[key], column[key] = float(first), 0
        sums = np.zeros((ny, nx, SUMS))
        add_stacked_rows(
            rows.xpos, rows.lam, rows.data, rows.dq, rows.origin, position, column, 1.0, low, step, 0, sums
        )
        parts.append(finish_stacked(sums))
    image = np.concatenate(parts, axis=1)
    layout = StackedLayout(1.0, np.zeros(0), np.zeros(0, np.int64), image.shape[1], ny, low, step)
    return image, list(stacked_cards(layout, "count"))
