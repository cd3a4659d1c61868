# SPDX-License-Identifier: BSD-3-Clause
"""The sources of one exposure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.alignment.arrays import Floats
from muse_core.alignment.images.field import FieldInfo
from muse_core.data.tangent_plane import TanWcs


@dataclass(frozen=True)
class SourceList:
    """Sources of one exposure with sky positions (degrees), and how they were found.

    ``x``, ``y`` count from 0. ``position_error`` is the typical one in arcsec a coordinate, ``errors`` those
    of the sources; ``significance`` is the height of a peak over the noise of the filtered image;
    ``brightness`` and its error are fluxes in an aperture. All of these are NaN where they are unknown (lists
    that were given).
    """

    number: npt.NDArray[np.int32]
    x: Floats
    y: Floats
    flux: Floats
    sharpness: Floats
    roundness: Floats
    ra: Floats
    dec: Floats
    origin: str
    median: float = 0.0
    mad: float = 0.0
    threshold: float = 0.0
    position_error: float = math.nan
    errors: Floats = field(default_factory=lambda: np.zeros(0))
    significance: Floats = field(default_factory=lambda: np.zeros(0))
    brightness: Floats = field(default_factory=lambda: np.zeros(0))
    brightness_error: Floats = field(default_factory=lambda: np.zeros(0))
    left_out: str = ""  # why there is nothing to align

    def __post_init__(self) -> None:
        for name in ("errors", "significance", "brightness", "brightness_error"):
            if len(getattr(self, name)) != len(self):
                object.__setattr__(self, name, np.full(len(self), np.nan))

    def __len__(self) -> int:
        return int(self.x.size)

    def take(self, which: npt.NDArray[Any]) -> SourceList:
        """Return the sources chosen by a mask or an index array."""
        arrays = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        chosen = {name: value[which] for name, value in arrays.items() if isinstance(value, np.ndarray)}
        return replace(self, **chosen)

    @classmethod
    def of_positions(cls, x: Floats, y: Floats, ra: Floats, dec: Floats, origin: str) -> SourceList:
        """Return a list of which only the positions are known."""
        unknown = np.full(x.size, np.nan)
        number = np.arange(1, x.size + 1, dtype=np.int32)  # new numbers, as 2.8.7
        return cls(number, x, y, unknown, unknown, unknown, ra, dec, origin)

    @classmethod
    def empty(cls, reason: str) -> SourceList:
        """Return the list of an exposure that is left out."""
        nothing = np.zeros(0)
        return replace(cls.of_positions(nothing, nothing, nothing, nothing, "detection"), left_out=reason)


def sky_positions(
    wcs: TanWcs, x: Floats, y: Floats, *, positions_one_pixel_low: bool
) -> tuple[Floats, Floats]:
    """Sky positions of zero-based pixels.

    With the defect they are taken for FITS pixels, which start at 1: all positions are one pixel off. That
    cancels only between exposures of equal orientation.
    """
    if not positions_one_pixel_low:
        return wcs.sky(x + 1.0, y + 1.0)
    positions = [wcs.sky_by_native_angles(*place) for place in zip(x, y, strict=True)]
    ra, dec = np.array(positions).reshape(-1, 2).T
    return ra, dec


def field_areas(infos: Sequence[FieldInfo], lists: Sequence[SourceList]) -> Floats:
    """Solid angle that holds the sources of each exposure, in square degrees."""
    areas = []
    for info, sources in zip(infos, lists, strict=True):
        image = info.shape[0] * info.shape[1]
        box = np.ptp(sources.x) * np.ptp(sources.y) if len(sources) else 0.0
        areas.append(max(image, box) * info.wcs.pixel_area)
    return np.array(areas)
