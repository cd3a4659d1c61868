# SPDX-License-Identifier: BSD-3-Clause
"""Pieces of an image read from its place in the file: neither mapped nor read as a whole."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from muse_core.framework.fits_layout import Unit

_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(frozen=True)
class StoredImage:
    """An image of a FITS file that is open.

    Parameters
    ----------
    stream : the file
    start : byte of its first pixel
    shape : axes as those of an array, slowest first; empty for an image without data
    stored : type of the numbers in the file
    scale, zero, blank : BSCALE, BZERO, and BLANK if it is there
    """

    stream: BinaryIO
    start: int
    shape: tuple[int, ...]
    stored: np.dtype[np.generic]
    scale: float
    zero: float
    blank: float | None

    @classmethod
    def of(cls, stream: BinaryIO, unit: Unit) -> StoredImage:
        """Return the image of a unit; ValueError if its keywords are no numbers."""

        def number(key: str, default: float) -> float:
            value = unit.get(key, default)
            if isinstance(value, str) or value is None:
                raise ValueError(f"{key} is {value!r}, no number")
            return value

        shape = tuple(int(number(f"NAXIS{axis}", 0)) for axis in range(int(number("NAXIS", 0)), 0, -1))
        blank = None if unit.get("BLANK") is None else number("BLANK", 0)
        stored = np.dtype(_TYPES[int(number("BITPIX", 8))])
        return cls(stream, unit.data_start, shape, stored, number("BSCALE", 1), number("BZERO", 0), blank)

    def run(self, first: int, count: int) -> npt.NDArray[np.float64]:
        """Return the true values of so many pixels that follow each other; for errors see `fill`."""
        values = np.empty(count)
        self.fill(first, values)
        return values

    def fill(self, first: int, values: npt.NDArray[Any]) -> None:
        """Put the true values of pixels that follow each other in the file into an array float[n].

        They are as precise as usual readers give them: float32 where 16 bits are scaled.

        Raises
        ------
        EOFError
            if the image or the file ends before
        """
        count = values.size
        if not 0 <= first <= first + count <= math.prod(self.shape):
            raise EOFError(f"pixels {first + 1} to {first + count} of {math.prod(self.shape)}")
        size = count * self.stored.itemsize
        found = os.pread(self.stream.fileno(), size, self.start + first * self.stored.itemsize)
        if len(found) < size:
            raise EOFError("the file is truncated")
        raw = np.frombuffer(found, self.stored)
        values[:] = self._scaled(raw)
        if self.stored.kind != "f" and self.blank is not None:
            values[raw == self.blank] = np.nan

    def _scaled(self, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if (self.scale, self.zero) == (1, 0):
            return raw
        single = self.stored.itemsize <= 2 or self.stored == np.dtype(">f4")
        kind = np.dtype(np.float32 if single else np.float64)
        return raw.astype(kind) * kind.type(self.scale) + kind.type(self.zero)


def is_image(unit: Unit) -> bool:
    """Tell whether a unit is an image and no table."""
    return unit.start == 0 or unit.get("XTENSION") == "IMAGE"


def name_of(unit: Unit) -> str:
    """Return the name of a unit in capitals; the first is PRIMARY if it has none."""
    return str(unit.get("EXTNAME") or ("" if unit.start else "PRIMARY")).upper()
