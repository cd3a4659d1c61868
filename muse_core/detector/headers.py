# SPDX-License-Identifier: BSD-3-Clause
"""The header that products of raw frames start from."""

from __future__ import annotations

import re

from astropy.io import fits

from muse_core.data.extension_keywords import with_extension_keywords

SCAN_KEYWORD = re.compile(r"^ESO DET OUT\d+ (PRSC|OVSC)[XY]$")
OF_PIXELS = re.compile(r"^(C(RPIX|RVAL|TYPE|UNIT|DELT)\d|CD\d_\d|BUNIT|INHERIT)$")


def raw_header(primary: fits.Header, extension: fits.Header) -> fits.Header:
    """Return the primary header of a raw file joined with that of one channel.

    Measured against 2.8.7: of a keyword in both, QC and DRS are those of the channel. What describes the
    pixels of the raw frame is left out.
    """
    header = with_extension_keywords(primary, extension, only_eso=False)
    for key in [k for k in header if SCAN_KEYWORD.match(k) or OF_PIXELS.match(k)]:
        del header[key]
    return header
