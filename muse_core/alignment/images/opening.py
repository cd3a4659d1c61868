# SPDX-License-Identifier: BSD-3-Clause
"""The pixels and the header of a field image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from muse_core.alignment.arrays import Flags, Pixels
from muse_core.alignment.images.field import FieldInfo
from muse_core.data.extension_keywords import with_extension_keywords
from muse_core.framework.errors import InputError
from muse_core.framework.fits_file import open_fits

if TYPE_CHECKING:
    from astropy.io.fits import Header


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
