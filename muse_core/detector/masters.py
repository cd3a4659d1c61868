# SPDX-License-Identifier: BSD-3-Clause
"""Master images (bias, dark, flat): find an IFU in per-IFU or merged files, read a band of rows at a time."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.data.memory import borrow
from muse_core.detector.fitsfile import extensions, opened, read_pixels, read_window
from muse_core.detector.image import Image, Window
from muse_core.framework.errors import InputError

PLANES = ("DATA", "DQ", "STAT")
MERGED = re.compile(r"^CHAN(\d\d)\.(DATA|DQ|STAT)$")
CHANNEL = re.compile(r"^CHAN(\d\d)$")
DTYPES = {-32: ">f4", -64: ">f8", 16: ">i2", 32: ">i4", 64: ">i8"}


@dataclass(frozen=True)
class Plane:
    """Where one image lies in a file."""

    path: Path
    name: str
    number: int
    offset: int
    shape: tuple[int, int]
    bitpix: int
    plain: bool

    def rows(self, first: int, last: int, out: np.ndarray) -> None:
        """Copy rows ``first`` to ``last`` (exclusive) into ``out`` (native byte order)."""
        if self.plain:
            kind = np.dtype(DTYPES[self.bitpix])
            same = kind.newbyteorder("=") == out.dtype
            target = out if same else np.empty(out.shape, kind.newbyteorder("="))
            if not read_pixels(self.path, self.offset + first * self.shape[1] * kind.itemsize, target):
                raise InputError(self.path, self.name, expected="a complete image", found="a truncated file")
            if not same:
                out[...] = target
            return
        with opened(self.path, memmap=False) as hdus:
            out[...] = hdus[self.number].data[first:last]

    def window(self, window: Window, out: np.ndarray) -> None:
        """Copy some rows and columns into ``out`` (native byte order); the plane must be a plain one."""
        kind = np.dtype(DTYPES[self.bitpix])
        stored = np.empty(window.shape, kind.newbyteorder("="))
        with self.path.open("rb", buffering=0) as stream:
            if not read_window(stream.fileno(), self.offset, self.shape[1], window, stored):
                raise InputError(self.path, self.name, expected="a complete image", found="a truncated file")
        out[...] = stored.byteswap() if sys.byteorder == "little" else stored


@dataclass(frozen=True)
class MasterImage:
    """Master image of one IFU: its planes on disk and its header.

    Attributes
    ----------
    header : fits.Header
        Primary header of a per-IFU file, DATA extension header of a merged file.
    primary : fits.Header
        Primary header of the file.
    """

    path: Path
    ifu: int
    header: fits.Header
    primary: fits.Header
    planes: dict[str, Plane]

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        return self.planes["DATA"].shape

    def rows(
        self, first: int, last: int, out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Data (float32), flags (int32) and variance (float32) of some rows.

        ``out`` gives three arrays to fill; without it new ones are made.
        """
        if out is None:
            shape = (last - first, self.shape[1])
            out = borrow(shape, np.float32), borrow(shape, np.int32), borrow(shape, np.float32)
        for name, array in zip(PLANES, out, strict=True):
            self.planes[name].rows(first, last, array)
        return out

    @property
    def plain(self) -> bool:
        """Whether parts can be read from the file as it is."""
        return all(plane.plain for plane in self.planes.values())

    def window(self, window: Window) -> Image:
        """Return a part (see `Plane.window`)."""
        part = Image.empty(window.shape)
        for name, array in zip(("DATA", "STAT", "DQ"), part, strict=True):
            self.planes[name].window(window, array)
        return part

    def plane(self, name: str, first: int, last: int) -> npt.NDArray[Any]:
        """Return whole rows of the plane ``data``, ``stat`` or ``dq``."""
        out = np.empty((last - first, self.shape[1]), np.int32 if name == "dq" else np.float32)
        self.planes[name.upper()].rows(first, last, out)
        return out

    def whole(self) -> Image:
        """Return the image as a whole."""
        image = Image.empty(self.shape)
        self.rows(0, self.shape[0], (image.data, image.dq, image.stat))
        return image

    def number(self, keyword: str) -> float:
        """A numerical keyword of this IFU, from its own header or the primary one."""
        value = self.header.get(keyword, self.primary.get(keyword))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(
                self.path, f"CHAN{self.ifu:02d} {keyword}", expected="a number", found=repr(value)
            )
        return float(value)


def _plane(path: Path, hdu: Any, number: int) -> Plane:
    if not hdu.is_image or len(hdu.shape) != 2 or not all(hdu.shape):
        raise InputError(
            path, hdu.name, expected="a two-dimensional image", found=f"{hdu.header.get('NAXIS')} axes"
        )
    info = hdu.fileinfo()
    header = hdu.header
    plain = path.suffix not in (".gz", ".Z", ".bz2", ".fz") and not isinstance(hdu, fits.CompImageHDU)
    plain = plain and header.get("BZERO", 0) == 0 and header.get("BSCALE", 1) == 1
    bitpix = header["BITPIX"]
    if plain:
        end = info["datLoc"] + abs(bitpix) // 8 * int(np.prod(hdu.shape))
        if end > path.stat().st_size:
            raise InputError(
                path,
                hdu.name,
                expected=f"{end} bytes",
                found=path.stat().st_size,
                remedy="the file is truncated",
            )
        plain = bitpix in DTYPES
    return Plane(path, hdu.name, number, info["datLoc"], tuple(hdu.shape), bitpix, plain)


def _master(path: Path, ifu: int, parts: dict[str, tuple], primary: fits.Header, merged: bool) -> MasterImage:
    item = f"CHAN{ifu:02d}"
    missing = [name for name in PLANES if name not in parts]
    if missing:
        raise InputError(
            path, item, expected="extensions DATA, DQ and STAT", found=f"no {', '.join(missing)}"
        )
    where = {name: _plane(path, *parts[name]) for name in PLANES}
    if len({plane.shape for plane in where.values()}) != 1:
        raise InputError(path, item, expected="DATA, DQ, STAT of one size", found="different sizes")
    return MasterImage(path, ifu, parts["DATA"][0].header.copy() if merged else primary, primary, where)


def find_masters(paths: Iterable[str | Path], faults: dict[int, list[InputError]]) -> dict[int, MasterImage]:
    """Master image of every IFU in per-IFU files or one merged file.

    Parameters
    ----------
    paths : sequence of path-like
        All files of one tag.
    faults : dict of int to list of InputError
        What is wrong with single IFUs is added here.

    Returns
    -------
    dict of int to MasterImage

    Raises
    ------
    InputError
        For an unreadable file, an IFU that comes twice, or a mixture of merged and per-IFU files.
    """
    found: dict[int, MasterImage] = {}
    forms: dict[str, Path] = {}
    for path in map(Path, paths):
        with opened(path) as hdus:
            primary = hdus[0].header.copy()
            planes: dict[int, dict[str, tuple]] = {}
            single = CHANNEL.match(str(primary.get("EXTNAME", "")))
            merged = False
            for number, hdu in extensions(hdus):
                match = MERGED.match(hdu.name)
                if match:
                    ifu, name, merged = int(match[1]), match[2], True
                elif single and hdu.name in PLANES:
                    ifu, name = int(single[1]), hdu.name
                else:
                    continue
                if name in planes.setdefault(ifu, {}):
                    raise InputError(path, f"CHAN{ifu:02d}", expected="every IFU once", found=f"{name} twice")
                planes[ifu][name] = (hdu, number)
            if not planes:
                raise InputError(
                    path,
                    "extensions",
                    expected="DATA, DQ, STAT with EXTNAME=CHANnn, or CHANnn.DATA, .DQ, .STAT",
                    found="neither",
                )
            forms["merged" if merged else "one file per IFU"] = path
            if len(forms) > 1:
                raise InputError(
                    path,
                    "form",
                    expected="one merged file or one file per IFU",
                    found="both kinds among the inputs",
                )
            for ifu, parts in planes.items():
                item = f"CHAN{ifu:02d}"
                if ifu in found:
                    raise InputError(
                        path, item, expected="every IFU once", found=f"the IFU in {found[ifu].path.name}, too"
                    )
                try:
                    found[ifu] = _master(path, ifu, parts, primary, merged)
                except InputError as error:
                    faults.setdefault(ifu, []).append(error)
    return found
