# SPDX-License-Identifier: BSD-3-Clause
"""Open FITS files with faults told as `InputError`."""

from __future__ import annotations

import contextlib
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
    """Number and HDU of all extensions that can be read."""
    number = 1
    while True:
        try:
            hdu = hdus[number]
        except (IndexError, OSError, TypeError, ValueError):
            return
        yield number, hdu
        number += 1


def read_pixels(path: Path, offset: int, out: np.ndarray) -> bool:
    """Fill ``out`` with the big-endian numbers at byte ``offset`` of a file; False if the file ends before.

    Parameters
    ----------
    path : Path
    offset : int
    out : array
        C-contiguous, of the type stored in the file, native byte order.
    """
    view = out.reshape(-1).view(np.uint8).data
    with path.open("rb", buffering=0) as stream:
        stream.seek(offset)
        done = 0
        while done < len(view):
            count = stream.readinto(view[done:])
            if not count:
                return False
            done += count
    if sys.byteorder == "little":
        out.byteswap(inplace=True)
    return True
