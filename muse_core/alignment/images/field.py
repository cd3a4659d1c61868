# SPDX-License-Identifier: BSD-3-Clause
"""All that is kept of a field image between the passes: no pixels and no headers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from muse_core.data.tangent_plane import TanWcs

FAR_DEG = {"WFM": 0.5, "NFM": 0.0635}  # half the width of the field that 2.8.7 allows for a mosaic
IMAGE_BYTES = 60  # per pixel of an input, with temporary arrays


@dataclass(frozen=True)
class FieldInfo:
    """What the headers of one image say.

    Parameters
    ----------
    hdu, dq_hdu : int
        Numbers of the extensions of the image and of its flags (None: no flags).
    shape : (int, int)
        (ny, nx).
    mjd : float
        Start of the exposure (MJD-OBS).
    exptime : float or None
        Seconds; None unless asked for.
    """

    path: Path
    name: str
    hdu: int
    dq_hdu: int | None
    shape: tuple[int, int]
    wcs: TanWcs
    mjd: float
    date: str
    mode: str
    instrument: str
    unit: str
    exptime: float | None
    exptime_is_integer: bool

    @property
    def family(self) -> str:
        """WFM or NFM; WFM if the header does not tell."""
        return "NFM" if self.mode.startswith("NFM") else "WFM"

    @property
    def centre(self) -> tuple[float, float]:
        """Right ascension and declination of the middle of the image by its header, degrees."""
        ra, dec = self.wcs.sky((self.shape[1] + 1) / 2.0, (self.shape[0] + 1) / 2.0)
        return float(ra), float(dec)

    @property
    def pixel_arcsec(self) -> float:
        """Pixel size."""
        return math.sqrt(self.wcs.pixel_area) * 3600.0
