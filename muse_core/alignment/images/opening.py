# SPDX-License-Identifier: BSD-3-Clause
"""FITS files opened with readable errors; the pixels and the header of a field image.

Nothing is allocated from a size in a header before it was compared with the length of the file
(`muse_core.alignment.images.checks`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muse_core.alignment.arrays import Flags, Pixels
from muse_core.alignment.images.field import FieldInfo
from muse_core.data.extension_keywords import with_extension_keywords
from muse_core.framework.errors import InputError

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header


@contextmanager
def open_fits(path: Path) -> Iterator[HDUList]:
    """Open a FITS file, without the warnings of the reader (we check ourselves).

    Raises
    ------
    InputError
        For anything that keeps the file from being read.
    """
    from astropy.io import fits

    if path.is_dir():
        raise InputError(path, "file", expected="a FITS file", found="a directory")
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        found = error.strerror or str(error)
        raise InputError(path, "file", expected="a readable FITS file", found=found) from error
    if size == 0:
        raise InputError(path, "file", expected="a FITS file", found="an empty file of 0 bytes")
    if start != b"SIMPLE  =":
        raise InputError(path, "file", expected="a FITS file starting with SIMPLE", found="something else")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            hdus = fits.open(path, memmap=False, lazy_load_hdus=True)
        except (OSError, ValueError, TypeError, KeyError) as error:
            found = first_line(error)
            raise InputError(path, "file", expected="a readable FITS file", found=found) from error
        with hdus:
            yield hdus


def first_line(error: Exception) -> str:
    """Return what an error of another library says, in one short line."""
    return str(error).split("\n", 1)[0][:120] or type(error).__name__


def read_pixels(info: FieldInfo) -> tuple[Pixels, Flags]:
    """Read an inspected image.

    Returns
    -------
    data : float32[ny, nx]
        NaN and infinite values are left in.
    bad : bool[ny, nx]
        Not finite, or any bit of DQ set.
    """
    with open_fits(info.path) as hdus:
        try:
            data = np.asarray(hdus[info.hdu].data, dtype=np.float32)
            bad = ~np.isfinite(data)
            if info.dq_hdu is not None:
                bad |= np.asarray(hdus[info.dq_hdu].data) != 0
        except (OSError, ValueError, TypeError, EOFError) as error:
            found = first_line(error)
            raise InputError(info.path, "pixels", expected="a readable image", found=found) from error
    return data, bad


def read_header(info: FieldInfo, *, merged: bool = True) -> Header:
    """Primary header of an image for its products, with the ESO keywords of its extension if ``merged``."""
    with open_fits(info.path) as hdus:
        primary = hdus[0].header
        if info.hdu and merged:
            return with_extension_keywords(primary, hdus[info.hdu].header, only_eso=True)
        return primary.copy()
