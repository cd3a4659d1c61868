# SPDX-License-Identifier: BSD-3-Clause
"""Strehl ratio from the tables of the real-time computer in a raw narrow-field exposure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muse_core.detector.fitsfile import extensions, opened

ATMOSPHERE, PROFILE = "SPARTA_ATM_DATA", "SPARTA_CN2_DATA"
COLUMNS = tuple(f"LGS{i}_STREHL" for i in (1, 2, 3, 4))


@dataclass(frozen=True)
class Strehl:
    """Median and median absolute deviation of all measurements of the four guide stars."""

    ratio: float
    deviation: float


def read_strehl(path: Path) -> tuple[Strehl | None, str]:
    """Read the Strehl ratio of an exposure.

    Measured against 2.8.7: all values count, those beyond 0 to 1, too.

    Returns
    -------
    Strehl or None, and a warning ("" for none)
    """
    with opened(path, memmap=False) as hdus:
        tables = {hdu.name: hdu for _, hdu in extensions(hdus) if hdu.name in (ATMOSPHERE, PROFILE)}
        missing = [name for name in (ATMOSPHERE, PROFILE) if name not in tables]
        if missing:
            return None, f"{path.name}: no {' and no '.join(missing)}, Strehl ratio unknown"
        table = tables[ATMOSPHERE]
        lacking = [name for name in COLUMNS if name not in table.columns.names]
        if lacking:
            return None, f"{path.name}: {ATMOSPHERE} has no {', '.join(lacking)}, Strehl ratio unknown"
        values = np.concatenate([np.asarray(table.data[name], np.float64).ravel() for name in COLUMNS])
    values = values[np.isfinite(values)]
    if not values.size:
        return None, f"{path.name}: {ATMOSPHERE} holds no measurement, Strehl ratio unknown"
    middle = float(np.median(values))
    return Strehl(middle, float(np.median(np.abs(values - middle)))), ""
