# SPDX-License-Identifier: BSD-3-Clause
"""Raw MUSE exposures on disk: headers, channels, one channel's pixels at a time."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.data.memory import borrow
from muse_core.detector.fitsfile import extensions, opened, read_bytes
from muse_core.detector.quadrants import Quadrant, read_quadrants
from muse_core.framework.errors import InputError
from muse_core.framework.kernels import njit

CHANNEL = re.compile(r"^CHAN(\d\d)$")
UNSIGNED = np.uint16(0x8000)  # what BZERO=32768 adds to 16-bit numbers


@njit(cache=True, nogil=True)
def _unsigned(words: np.ndarray, swapped: bool) -> None:
    """Turn 16-bit numbers as in the file (uint16[n], big-endian) into adu, in place."""
    for i in range(words.size):
        word = words[i]
        if swapped:
            word = np.uint16((word << np.uint16(8)) | (word >> np.uint16(8)))
        words[i] = word ^ UNSIGNED


@dataclass(frozen=True)
class RawFile:
    """One raw exposure; nothing but headers is in memory.

    Attributes
    ----------
    path : Path
    primary : fits.Header
    headers : dict of int to fits.Header
        Extension header of each IFU.
    faults : dict of int to InputError
        Channels that cannot be used and why.
    quadrants : dict of int to tuple of Quadrant
    offsets : dict of int to int
        First byte of the pixels of the channels stored plainly as unsigned 16-bit numbers.
    """

    path: Path
    primary: fits.Header
    headers: dict[int, fits.Header]
    index: dict[int, int]
    quadrants: dict[int, tuple[Quadrant, ...]]
    faults: dict[int, InputError] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)

    @property
    def exptime(self) -> float:
        """Exposure time in seconds (checked by `open_raw`)."""
        return float(self.primary["EXPTIME"])

    def setup(self, ifu: int) -> dict[str, object]:
        """What must agree between exposures that are combined."""
        h = self.headers[ifu]
        return {
            "ESO DET BINX": self.primary.get("ESO DET BINX", h.get("ESO DET BINX", 1)),
            "ESO DET BINY": self.primary.get("ESO DET BINY", h.get("ESO DET BINY", 1)),
            "ESO DET READ CURID": self.primary.get("ESO DET READ CURID"),
            "ESO DET CHIP ID": h.get("ESO DET CHIP ID"),
        }

    def rows(self, ifu: int, first: int, last: int, out: np.ndarray) -> np.ndarray:
        """Return some rows of a channel that is stored plainly (see `offsets`), in ``out``."""
        shape = self.quadrants[ifu][0].frame_shape
        part = out[: last - first]
        self._load(ifu, 2 * first * shape[1], part)
        return part

    def _load(self, ifu: int, start: int, out: np.ndarray) -> None:
        """Fill ``out`` with the pixels of a channel that is stored plainly, from a byte of it on."""
        if not read_bytes(self.path, self.offsets[ifu] + start, out):
            raise InputError(
                self.path, f"CHAN{ifu:02d}", expected="readable pixels", found="a truncated file"
            )
        _unsigned(out.reshape(-1), sys.byteorder == "little")

    def read(self, ifu: int, out: np.ndarray | None = None) -> np.ndarray:
        """Pixels of one channel as uint16[ny, nx], in ``out`` if it is given and fits."""
        shape = self.quadrants[ifu][0].frame_shape
        if ifu in self.offsets:
            pixels = borrow(shape, np.uint16) if out is None or out.shape != shape else out
            self._load(ifu, 0, pixels)
            return pixels
        try:
            with opened(self.path, memmap=False) as hdus:
                data = hdus[self.index[ifu]].data
        except (OSError, TypeError, ValueError, IndexError) as error:
            raise InputError(self.path, f"CHAN{ifu:02d}", expected="readable pixels", found=error) from None
        if data is None or data.shape != shape:
            raise InputError(
                self.path, f"CHAN{ifu:02d}", expected="an image as its header says", found="a truncated file"
            )
        if data.dtype != np.uint16:
            return np.clip(data, 0, 65535).astype(np.uint16)
        return np.ascontiguousarray(data)


def _check_channel(path: Path, hdu: Any, size: int, seen: bool) -> tuple[Quadrant, ...]:
    if seen:
        raise InputError(path, hdu.name, expected="each channel once", found="the channel twice")
    if not hdu.is_image or hdu.header.get("NAXIS") != 2:
        raise InputError(path, hdu.name, expected="a two-dimensional image", found=hdu.header.get("XTENSION"))
    end = hdu.fileinfo()["datLoc"] + abs(hdu.header["BITPIX"]) // 8 * int(np.prod(hdu.shape))
    if not isinstance(hdu, fits.CompImageHDU) and end > size and path.suffix == ".fits":
        raise InputError(
            path, hdu.name, expected=f"{end} bytes", found=f"{size}", remedy="the file is truncated"
        )
    return read_quadrants(hdu.header, hdu.shape, str(path), hdu.name)


def _plain_offset(path: Path, hdu: Any) -> int | None:
    """First byte of the pixels if they can be read without astropy."""
    header = hdu.header
    if isinstance(hdu, fits.CompImageHDU) or path.suffix in (".gz", ".Z", ".bz2", ".fz"):
        return None
    # astropy has changed BITPIX, BZERO by now if it has scaled the data; nothing here touches them
    kind = header["BITPIX"], header.get("BZERO", 0), header.get("BSCALE", 1)
    return hdu.fileinfo()["datLoc"] if kind == (16, 32768, 1) and "BLANK" not in header else None


def open_raw(path: Path | str) -> RawFile:
    """Read all headers of a raw file and check them against the file.

    Parameters
    ----------
    path : path-like
        Raw exposure.

    Returns
    -------
    RawFile

    Raises
    ------
    InputError
        If the file as a whole cannot be used; what is wrong with single channels is listed in `faults`.
    """
    path = Path(path)
    headers, index, quadrants, faults, offsets = {}, {}, {}, {}, {}
    with opened(path) as hdus:
        size = path.stat().st_size
        primary = hdus[0].header.copy()
        exptime = primary.get("EXPTIME")
        is_number = isinstance(exptime, (int, float)) and not isinstance(exptime, bool)
        if not (is_number and 0 <= exptime < math.inf):
            raise InputError(path, "EXPTIME", expected="a time in seconds", found=repr(exptime))
        for number, hdu in extensions(hdus):
            match = CHANNEL.match(hdu.name)
            if not match or not 1 <= int(match[1]) <= 24:
                continue
            ifu = int(match[1])
            try:
                quadrants[ifu] = _check_channel(path, hdu, size, ifu in headers or ifu in faults)
                headers[ifu], index[ifu] = hdu.header.copy(), number
                start = _plain_offset(path, hdu)
                if start is not None:
                    offsets[ifu] = start
            except InputError as error:
                faults[ifu] = error
                headers.pop(ifu, None)
    if not headers and not faults:
        raise InputError(path, "extensions", expected="images CHAN01 to CHAN24", found="none of them")
    return RawFile(path, primary, headers, index, quadrants, faults, offsets)
