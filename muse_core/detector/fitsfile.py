# SPDX-License-Identifier: BSD-3-Clause
"""Open FITS files with faults told as `InputError`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.framework.fits_file import open_fits


@contextlib.contextmanager
def opened(path: Path, memmap: bool = True) -> Iterator[fits.HDUList]:
    """Open a file by the one door; a truncated one gives the extensions it has, without a warning."""
    with open_fits(path, memmap=memmap, whole=False) as hdus:
        yield hdus


def extensions(hdus: fits.HDUList) -> Iterator[tuple[int, Any]]:
    """Number and HDU of all extensions; what cannot be read has been refused by `opened`."""
    yield from enumerate(hdus[1:], 1)


def read_pixels(path: Path, offset: int, out: np.ndarray) -> bool:
    """Fill ``out`` with the big-endian numbers at byte ``offset`` of a file; False if the file ends before.

    Parameters
    ----------
    path : Path
    offset : int
    out : array
        C-contiguous, of the type stored in the file, native byte order.
    """
    complete = read_bytes(path, offset, out)
    if complete and sys.byteorder == "little":
        out.byteswap(inplace=True)
    return complete


def read_bytes(path: Path, offset: int, out: np.ndarray) -> bool:
    """Fill ``out`` (C-contiguous) with what stands at a byte of a file; False if the file ends before."""
    view = out.reshape(-1).view(np.uint8).data
    with path.open("rb", buffering=0) as stream:
        stream.seek(offset)
        done = 0
        while done < len(view):
            count = stream.readinto(view[done:])
            if not count:
                return False
            done += count
    return True


def read_at(descriptor: int, start: int, out: np.ndarray) -> None:
    """Fill an array (C-contiguous) with the bytes of a temporary file of ours from ``start`` on."""
    view = out.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], start + done)
        if not count:
            raise OSError("a temporary file is shorter than expected; is the disk full?")
        done += count


def read_window(
    descriptor: int, offset: int, width: int, window: tuple[int, int, int, int], out: np.ndarray
) -> bool:
    """Read some rows and columns of an image; False if the file ends before.

    Parameters
    ----------
    descriptor : int
        Of an open file.
    offset : int
        First byte of the image.
    width : int
        Its pixels per row.
    window : tuple of int
        First row, last row, first column, last column; the ends are not included.
    out : array[rows, columns]
        C-contiguous, of the type and byte order in the file.
    """
    y0, y1, x0, x1 = window
    size = out.dtype.itemsize
    view = out.reshape(-1).view(np.uint8).data
    # whole rows are read in one go
    rows, count = (1, len(view)) if x1 - x0 == width else (y1 - y0, (x1 - x0) * size)
    start, step = offset + (y0 * width + x0) * size, width * size
    for row in range(rows):
        done = 0
        while done < count:
            part = view[row * count + done : (row + 1) * count]
            read = os.preadv(descriptor, [part], start + row * step + done)
            if not read:
                return False
            done += read
    return True
