# SPDX-License-Identifier: BSD-3-Clause
"""What is kept of a product of muse_scibasic: some rows or pixels, sums of all, the keywords."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

EVERY = 17
KEPT = ("ESO QC ", "ESO DRS ", "ESO PRO CATG", "ESO PRO TECH", "ESO PRO TYPE", "ESO PRO REC1 PARAM")


def parts_of(path: Path, every: int) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Arrays by extension (with the number and sum of all values), and headers by extension."""
    arrays: dict[str, np.ndarray] = {}
    headers: dict[str, dict] = {}
    with fits.open(path) as hdus:
        for hdu in hdus:
            header = hdu.header
            headers[hdu.name] = {key: header[key] for key in header if key.startswith(KEPT)}
            if isinstance(hdu, fits.BinTableHDU):
                for column in ("lambda", "data"):
                    arrays[f"{hdu.name}.{column}"] = np.array(hdu.data[column], float)
            elif hdu.data is not None:
                values = np.array(hdu.data).ravel()
                arrays[hdu.name] = values[::every]
                arrays[f"{hdu.name}.all"] = np.array([values.size, np.nansum(values.astype(float))])
    return arrays, headers
