# SPDX-License-Identifier: BSD-3-Clause
"""The slices of the instrument as indices of tables over all of them (0 .. 1151)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit

N_IFU = 24
N_SLICE = 48
N_KEY = N_IFU * N_SLICE


def slice_key(ifu: int, slice_number: int) -> int:
    """Return the index of a slice in tables over all slices (0 .. 1151)."""
    return (ifu - 1) * N_SLICE + slice_number - 1


@njit(cache=True, nogil=True, inline="always")
def slice_key_of(origin):  # type: ignore[no-untyped-def]
    """Return the index of the slice of a row (see `slice_key`), -1 if the origin is not valid."""
    ifu = (origin >> 6) & 0x1F
    number = origin & 0x3F
    if 1 <= ifu <= N_IFU and 1 <= number <= N_SLICE:
        return (ifu - 1) * N_SLICE + number - 1
    return -1


def rows_by_slice(rows_by_number: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the rows of each slice, int64[1152], from those by the last 11 bits of `origin`, int64[2048]."""
    return rows_by_number.reshape(32, 64)[1 : N_IFU + 1, 1 : N_SLICE + 1].ravel()
