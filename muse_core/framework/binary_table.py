# SPDX-License-Identifier: BSD-3-Clause
"""Binary tables for products, made without astropy's table package."""

from __future__ import annotations

from typing import Any

from astropy.io import fits


class BinaryTable(fits.BinTableHDU):
    """A `BinTableHDU` made of columns or records.

    That of astropy asks whether its data are an astropy Table, and imports for that what takes as long as the
    whole of `astropy.io.fits`, a sixth of all imports of a small run. What is given here is none.
    """

    def __init__(self, data: Any = None, header: fits.Header | None = None, **options: Any) -> None:
        super(fits.BinTableHDU, self).__init__(data, header, **options)
