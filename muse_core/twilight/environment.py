# SPDX-License-Identifier: BSD-3-Clause
"""Environment variables of the C pipeline that change what muse_twilight does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.detector.errors import DetectorError
from muse_core.detector.fitsfile import opened
from muse_core.resampling.grid import OutputGrid, pixel_grid

SKIP, SCALES = "MUSE_TWILIGHT_SKIP", "MUSE_TWILIGHT_SCALES"
NIFU = 24


@dataclass(frozen=True)
class StoredSkyCube:
    """A DATACUBE_SKYFLAT read back: primary header, grid, data (float32[nz, ny, nx]), white image."""

    header: fits.Header
    grid: OutputGrid
    data: npt.NDArray[np.float32]
    white: npt.NDArray[np.float32]


def external_scales(log) -> list[float] | None:
    """Scales of the IFUs 1 to 24 from MUSE_TWILIGHT_SCALES (numbers with commas between), or None.

    As in the C pipeline another number of values is ignored with a warning. Values that are not positive
    numbers are refused (there they count as 0).
    """
    text = os.environ.get(SCALES, "").strip()
    if not text:
        return None
    words = text.split(",")
    if len(words) != NIFU:
        log.warning("%s: %d values found instead of %d, not used", SCALES, len(words), NIFU)
        return None
    scales = []
    for number, word in enumerate(words, 1):
        try:
            value = float(word)
        except ValueError:
            value = float("nan")
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{SCALES}: value {number} is {word.strip()!r}, not a positive number")
        scales.append(value)
    log.info("%d scales taken from %s", NIFU, SCALES)
    return scales


def scaled_fluxes(fluxes: dict[int, float], scales: list[float], compat: bool) -> dict[int, float]:
    """Fluxes whose ratios are those of the scales.

    Measured against 2.8.7: the data of IFU n are divided by its scale, and ``FLAT FLUX SKYn`` is the scale
    times F / scale_1, with F measured in IFU 1; but ``SKY1`` is F / scale_1 (with ``compat`` here, too; it
    belongs to the data only if the first scale is 1).
    """
    first = min(fluxes)
    unit = fluxes[first] / scales[first - 1]
    out = {ifu: unit * scales[ifu - 1] for ifu in fluxes}
    if compat:
        out[first] = unit
    return out


def cube_to_reuse() -> StoredSkyCube | None:
    """The cube that MUSE_TWILIGHT_SKIP names, or None.

    Raises
    ------
    DetectorError
        If it is no DATACUBE_SKYFLAT.
    """
    name = os.environ.get(SKIP, "").strip()
    if not name:
        return None
    path = Path(name)
    with opened(path, memmap=False) as hdus:
        named = {h.name.lower(): h for h in hdus[1:]}
        missing = [n for n in ("data", "white") if n not in named]
        if missing:
            raise DetectorError(
                path, SKIP, "a DATACUBE_SKYFLAT with extensions DATA and white", f"no {', '.join(missing)}"
            )
        data, white, header = named["data"].data, named["white"].data, named["data"].header
        if data is None or data.ndim != 3 or white is None or white.shape != data.shape[1:]:
            raise DetectorError(path, SKIP, "a cube and a white image of its size", "other sizes")
        start = [header.get(f"CRVAL{axis}", 1.0) for axis in (1, 2, 3)]
        step = header.get("CD3_3", 250.0)
        spans = [(s, s + d * (n - 1)) for s, d, n in zip(start, (1, 1, step), data.shape[::-1], strict=True)]
        grid = pixel_grid(tuple(spans), (1.0, 1.0, step))
        return StoredSkyCube(hdus[0].header.copy(), grid, data.astype(np.float32), white.astype(np.float32))
