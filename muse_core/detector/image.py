# SPDX-License-Identifier: BSD-3-Clause
"""The calibrated image of a detector: in memory, or on disk where several of them would take too much."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from muse_core.data.memory import borrow
from muse_core.detector.calibrate import DQ_SATURATED
from muse_core.detector.fitsfile import read_at

BAND_ROWS = 32
WRITTEN_ROWS = 128  # of one plane, which are read for a product at a time
FLAGS = 2  # place of the flags among the planes of an image
BLOCK = 128  # columns


class Image(NamedTuple):
    """Data and variance (float32[ny, nx]) and flags (int32[ny, nx]) of a detector, or a part of it."""

    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    dq: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Image:
        """Return an image with unset pixels."""
        return cls(borrow(shape, np.float32), borrow(shape, np.float32), borrow(shape, np.int32))

    def rows(self, first: int, last: int) -> Image:
        """Return some rows (no copy)."""
        return Image(self.data[first:last], self.stat[first:last], self.dq[first:last])


def count_saturated_flags(dq: npt.NDArray[np.int32]) -> int:
    """Number of pixels that are flagged as saturated and nothing else (measured against 2.8.7)."""
    return int(np.count_nonzero(dq == DQ_SATURATED))


class Window(NamedTuple):
    """Some rows and columns of a detector, from 0; the ends are not included."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        return self.y1 - self.y0, self.x1 - self.x0


class DetectorImage(Protocol):
    """What the makers of pixel tables ask of an image, wherever its pixels are."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        ...

    @property
    def nsaturated(self) -> int:
        """Number of saturated pixels."""
        ...

    def window(self, window: Window) -> Image:
        """Return a part; it is only to be read."""
        ...

    def plane(self, name: str, first: int, last: int) -> npt.NDArray[Any]:
        """Return whole rows of one of the planes of `Image`; they are only to be read."""
        ...


def bands(ny: int, rows: int = BAND_ROWS) -> list[tuple[int, int]]:
    """First and last (exclusive) row of the bands in which a detector is worked on.

    >>> bands(130)
    [(0, 32), (32, 64), (64, 96), (96, 128), (128, 130)]
    """
    return [(first, min(first + rows, ny)) for first in range(0, ny, rows)]


def bands_of_halves(ny: int) -> list[tuple[int, int]]:
    """Bands none of which has rows of both halves of a detector, which are apart in the raw frame.

    >>> bands_of_halves(72)
    [(0, 32), (32, 36), (36, 68), (68, 72)]
    """
    half = ny // 2
    return [
        (start + first, start + last)
        for start, end in ((0, half), (half, ny))
        for first, last in bands(end - start)
    ]


def band(image: DetectorImage, first: int, last: int) -> Image:
    """Return whole rows of an image; they are only to be read."""
    return image.window(Window(first, last, 0, image.shape[1]))


def thumbnail(image: DetectorImage, size: int = 220) -> npt.NDArray[np.float32]:
    """A small picture of an image: every n-th pixel, NaN where it is flagged."""
    ny, nx = image.shape
    step_y, step_x = max(ny // size, 1), max(nx // size, 1)
    lines = []
    for first, last in bands(ny, WRITTEN_ROWS):
        part = slice(-first % step_y, None, step_y), slice(None, None, step_x)
        line = image.plane("data", first, last)[part].copy()
        line[image.plane("dq", first, last)[part] != 0] = np.nan
        lines.append(line)
    return np.concatenate(lines)


class MemoryImage:
    """An image that is held as a whole."""

    def __init__(self, image: Image) -> None:
        self.image = image

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        ny, nx = self.image.data.shape
        return ny, nx

    @property
    def nsaturated(self) -> int:
        """Number of saturated pixels."""
        return count_saturated_flags(self.image.dq)

    def window(self, window: Window) -> Image:
        """Return a part (no copy)."""
        part = slice(window.y0, window.y1), slice(window.x0, window.x1)
        return Image(self.image.data[part], self.image.stat[part], self.image.dq[part])

    def plane(self, name: str, first: int, last: int) -> npt.NDArray[Any]:
        """Return whole rows of one plane (no copy)."""
        rows: npt.NDArray[Any] = getattr(self.image, name)[first:last]
        return rows

    def put(self, first: int, rows: Image) -> None:
        """Set whole rows."""
        last = first + rows.data.shape[0]
        for plane, new in zip(self.image, rows, strict=True):
            plane[first:last] = new

    def fill(self, make: Callable[[int, Image], None]) -> None:
        """Have ``make(first, rows)`` set all rows, band by band, in place."""
        for first, last in bands(self.shape[0]):
            make(first, self.image.rows(first, last))

    def close(self) -> None:
        """Let the pixels go."""
        self.image = Image.empty((0, 0))


class ScratchImage:
    """An image in a temporary file without a name: nothing is left behind, whatever happens.

    Slices run along the columns of a detector: the file holds one block of columns after the other. Flags are
    few: those of a block without any are neither written nor read.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)``.
    folder : path-like
        Where the file is made.
    """

    def __init__(self, shape: tuple[int, int], folder: Path | str) -> None:
        self.shape = shape
        self.nsaturated = 0
        self._flagged = np.zeros(-(-shape[1] // BLOCK), bool)
        self._descriptor, name = tempfile.mkstemp(prefix=".image.", suffix=".part", dir=folder)
        Path(name).unlink()
        os.ftruncate(self._descriptor, 12 * shape[0] * shape[1])  # flags may end before

    def _places(self, plane: int, y0: int, x0: int, x1: int) -> Iterator[tuple[int, int, int]]:
        """Yield first column, last column (exclusive) and byte of row ``y0`` of each block of columns."""
        ny, nx = self.shape
        for first in range(x0 // BLOCK * BLOCK, x1, BLOCK):
            width = min(BLOCK, nx - first)
            yield first, first + width, 4 * (plane * ny * nx + first * ny + y0 * width)

    def put(self, first: int, rows: Image) -> None:
        """Set whole rows (each once)."""
        self.nsaturated += count_saturated_flags(rows.dq)
        flagged = np.logical_or.reduceat(rows.dq.any(axis=0), np.arange(0, self.shape[1], BLOCK))
        self._flagged |= flagged
        for number, values in enumerate(rows):
            for x0, x1, start in self._places(number, first, 0, self.shape[1]):
                if number == FLAGS and not flagged[x0 // BLOCK]:
                    continue  # a hole in the file reads as zero
                view = np.ascontiguousarray(values[:, x0:x1]).reshape(-1).view(np.uint8).data
                done = 0
                while done < len(view):
                    done += os.pwrite(self._descriptor, view[done:], start + done)

    def fill(self, make: Callable[[int, Image], None]) -> None:
        """Have ``make(first, rows)`` make all rows, band by band."""
        room = Image.empty((BAND_ROWS, self.shape[1]))
        for first, last in bands(self.shape[0]):
            rows = room.rows(0, last - first)
            make(first, rows)
            self.put(first, rows)

    def window(self, window: Window) -> Image:
        """Return a copy of a part."""
        part = Image.empty(window.shape)
        for number, values in enumerate(part):
            self._read(number, window, values)
        return part

    def plane(self, name: str, first: int, last: int) -> npt.NDArray[Any]:
        """Return a copy of whole rows of one plane."""
        number = Image._fields.index(name)
        rows = borrow((last - first, self.shape[1]), np.int32 if number == FLAGS else np.float32)
        self._read(number, Window(first, last, 0, self.shape[1]), rows)
        return rows

    def _read(self, number: int, window: Window, values: npt.NDArray[Any]) -> None:
        """Fill an array with a part of one plane."""
        y0, y1, first, last = window
        for x0, x1, start in self._places(number, y0, first, last):
            a, b = max(x0, first), min(x1, last)
            if number == FLAGS and not self._flagged[x0 // BLOCK]:
                values[:, a - first : b - first] = 0
                continue
            block = np.empty((y1 - y0, x1 - x0), values.dtype)
            read_at(self._descriptor, start, block)
            values[:, a - first : b - first] = block[:, a - x0 : b - x0]

    def close(self) -> None:
        """Give the disk space back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class ImageRoom:
    """Makes images, in memory or on disk, and lets all of them go at its end.

    Parameters
    ----------
    folder : path-like
        For images on disk.
    on_disk : bool
    """

    def __init__(self, folder: Path | str, *, on_disk: bool) -> None:
        self._folder, self._on_disk = folder, on_disk
        self._images: list[MemoryImage | ScratchImage] = []

    def __enter__(self) -> ImageRoom:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for image in self._images:
            image.close()
        self._images.clear()

    def new(self, shape: tuple[int, int]) -> MemoryImage | ScratchImage:
        """Return an image with unset pixels."""
        image = ScratchImage(shape, self._folder) if self._on_disk else MemoryImage(Image.empty(shape))
        self._images.append(image)
        return image

    def held(self, image: Image) -> MemoryImage:
        """Take an image that is in memory."""
        kept = MemoryImage(image)
        self._images.append(kept)
        return kept
