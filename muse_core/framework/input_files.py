# SPDX-License-Identifier: BSD-3-Clause
"""The door for files: what is no regular file stays outside, packed files are unpacked once per run.

Recipes see plain FITS files only. A packed input (``.gz``, ``.Z``, ``.bz2``, or tile-compressed as ``.fz``)
becomes a plain copy in the run's own scratch folder, streamed, up to a stated size and ratio, and gone at
the end whatever happens. Messages name the file that the user gave.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import logging
import math
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from muse_core.framework.errors import Fault, InputError, Problems, RecipeError
from muse_core.framework.fits_layout import Unit
from muse_core.framework.frames import Frame

LARGEST_UNPACKED = 1 << 36
"""Bytes of one unpacked file at most (64 GiB; a raw exposure has 0.6, merged pixel tables about 10)."""
LARGEST_RATIO = 250
"""Unpacked over packed size at most, for files above `SMALL`: real exposures reach 10."""
SMALL = 1 << 26
_PIECE = 1 << 22
_REMEDY = "Unpack it yourself, or get the file again."
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (fifo)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: Path) -> None:
    """Refuse what is no regular file, without opening it (a pipe or a device would block or never end).

    Raises
    ------
    InputError
        naming what it is
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  follows links, and tells loops apart
    except OSError as error:
        reasons = {
            errno.ENOENT: ("an existing file", "none", "Check the name and the folder."),
            errno.ELOOP: ("a file", "links that lead back to themselves", "Mend the links."),
            errno.EACCES: ("a file that can be read", "no permission", "Check the permissions."),
        }
        expected, found, remedy = reasons.get(error.errno or 0, ("a file", error.strerror, ""))
        raise InputError(path, "file", expected=expected, found=found, remedy=remedy) from None
    if stat.S_ISREG(mode):
        return
    found = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    raise InputError(path, "file", expected="a regular file", found=found)


def packing(path: Path) -> str:
    """Return how a regular file is packed: "gzip", "bzip2", "compress", "tiles", or "" for not at all."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        head = stream.read(3)
        for magic, name in ((b"\x1f\x8b", "gzip"), (b"\x1f\x9d", "compress"), (b"BZh", "bzip2")):
            if head.startswith(magic):
                return name
    return "tiles" if _has_tiles(path) else ""


def _has_tiles(path: Path) -> bool:
    from muse_core.framework import fits_layout

    try:
        return any(
            unit.get("ZIMAGE") is True or unit.get("ZTABLE") is True for unit in fits_layout.units(path)
        )
    except (OSError, ValueError):
        return False


def _pieces(path: Path, kind: str) -> Iterator[bytes]:
    if kind == "compress":
        from muse_core.framework import lzw

        with path.open("rb") as stream:
            yield from lzw.unpacked(stream)
        return
    opener = gzip.open if kind == "gzip" else bz2.open
    with opener(path) as packed:
        while piece := packed.read(_PIECE):
            yield piece


def _tiled_size(source: Path) -> int:
    """Return the bytes that the images of a tile-compressed file will take, from its headers alone."""
    from muse_core.framework import fits_layout

    total = 0
    for number, unit in enumerate(fits_layout.units(source)):
        if unit.get("ZTABLE") is True:
            raise ValueError(f"extension {number} is a compressed table; unpack it with funpack")
        if unit.get("ZIMAGE") is not True:
            total += unit.end - unit.data_start
            continue
        numbers = [unit.get("ZBITPIX"), *(unit.get(f"ZNAXIS{i}") for i in range(1, _axes(unit, number) + 1))]
        if not all(type(value) is int and value != 0 for value in numbers):
            raise ValueError(f"extension {number} has no size (ZBITPIX, ZNAXISn)")
        total += abs(math.prod(int(value or 0) for value in numbers)) // 8
    return total


def _axes(unit: Unit, number: int) -> int:
    axes = unit.get("ZNAXIS")
    if type(axes) is not int or not 1 <= axes <= 9:
        raise ValueError(f"extension {number} has {axes!r} axes (ZNAXIS)")
    return axes


def _unpack_tiles(source: Path, target: Path) -> None:
    """Write a tile-compressed file as plain images, one unit at a time.

    What astropy warns of (spare bytes at the end, odd cards) is no damage of the data and passes.
    """
    import warnings

    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    with (
        warnings.catch_warnings(action="ignore", category=AstropyWarning),
        fits.open(source, memmap=False, lazy_load_hdus=True) as hdus,  # scaled integers cannot be mapped
        target.open("wb") as stream,
    ):
        for number, hdu in enumerate(hdus):
            tiled = isinstance(hdu, fits.CompImageHDU)
            plain = fits.ImageHDU(hdu.data, hdu.header) if tiled else hdu.copy()
            for key in ("DATASUM", "CHECKSUM") if tiled else ():  # of what was packed, with some loss
                plain.header.remove(key, ignore_missing=True)
            if number == 0:
                plain.writeto(stream, output_verify="silentfix+ignore")
            else:
                _append_extension(plain, stream)


def _append_extension(hdu: object, stream: BinaryIO) -> None:
    from io import BytesIO

    from astropy.io import fits

    buffer = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer, output_verify="silentfix+ignore")
    stream.write(buffer.getbuffer()[2880:])


def plain_copy(source: Path, target: Path, kind: str) -> None:
    """Write an unpacked copy of a file.

    Raises
    ------
    InputError
        if the file is damaged, or larger than `LARGEST_UNPACKED` and `LARGEST_RATIO` allow
    OSError
        if the copy cannot be written
    """
    from muse_core.framework.lzw import DamagedError

    packed_size = source.stat().st_size
    limit = min(LARGEST_UNPACKED, max(SMALL, LARGEST_RATIO * packed_size))
    try:
        if kind == "tiles":
            _check_size(source, _tiled_size(source), limit)
            _unpack_tiles(source, target)
            return
        total = 0
        with target.open("wb") as stream:
            for piece in _pieces(source, kind):
                total += len(piece)
                _check_size(source, total, limit)
                stream.write(piece)
    except (EOFError, zlib.error, DamagedError, gzip.BadGzipFile) as error:
        raise _damaged(source, kind, error) from None
    except OSError as error:
        if error.errno is None:  # bz2 tells damage so
            raise _damaged(source, kind, error) from None
        raise
    except (InputError, MemoryError):
        raise
    except Exception as error:  # each compression of tiles has faults of its own
        if kind != "tiles":
            raise
        raise _damaged(source, kind, error) from None


def _damaged(source: Path, kind: str, error: Exception) -> InputError:
    found = str(error).split("\n")[0] or "an early end"
    return InputError(source, "file", expected=f"intact packed data ({kind})", found=found, remedy=_REMEDY)


def _check_size(source: Path, size: int, limit: int) -> None:
    if size > limit:
        expected = f"at most {limit >> 20} MB when unpacked"
        raise InputError(source, "file", expected=expected, found="more", remedy=_REMEDY)


_BEGINS_WITH_TAG = re.compile(r"[A-Z][A-Z0-9_]+\b")


class InputFiles:
    """The frames of one run as plain files; a context that removes the copies at its end.

    Parameters
    ----------
    workdir : the scratch folder is made in it (hidden), on the first packed file
    shown : the folder that messages name in place of `workdir`, if that is hidden from the user
    """

    def __init__(self, workdir: Path, shown: Path | None = None) -> None:
        self._workdir = workdir
        self._scratch: Path | None = None
        self._names: dict[str, str] = {}
        self._folder = (str(workdir), str(shown)) if shown is not None else None
        self._by_tag: dict[str, list[str]] = {}

    def __enter__(self) -> InputFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def admit(self, frames: Iterable[Frame], problems: Problems) -> list[Frame]:
        """Return the frames with plain files; what cannot be admitted is noted and left out."""
        admitted = []
        for frame in frames:
            self._by_tag.setdefault(frame.tag, []).append(str(frame.path))
            try:
                check_regular(frame.path)
                kind = packing(frame.path)
                admitted.append(frame if not kind else self._unpacked(frame, kind))
            except InputError as error:
                problems.extend(error)
            except OSError as error:
                problems.add(
                    frame.path, "file", expected="a file that can be read", found=error.strerror or error
                )
        return admitted

    def _unpacked(self, frame: Frame, kind: str) -> Frame:
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix=".muse-scratch-", dir=self._workdir))
        name = frame.path.name
        for suffix in (".gz", ".Z", ".bz2", ".fz"):
            name = name.removesuffix(suffix)
        folder = self._scratch / f"{len(self._names) + 1:04d}"
        folder.mkdir()
        target = folder / name
        self._names[str(target)] = str(frame.path)
        try:
            plain_copy(frame.path, target, kind)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise RecipeError(
                f"{frame.path} cannot be unpacked into {self._workdir}: {error.strerror}; free space there, "
                "or choose another output folder"
            ) from error
        return replace(frame, path=target, given=frame.path)

    def named(self, text: str) -> str:
        """Return a message with the names that the user gave in place of those of the copies."""
        for copy, given in self._names.items():
            text = text.replace(copy, given)
        return text if self._folder is None else text.replace(*self._folder)

    def file_of(self, text: str) -> str:
        """Return the file that a message is about which begins with an input's tag.

        "" where it does not, or there are several files of that tag, or the message names it.
        """
        match = _BEGINS_WITH_TAG.match(text)
        files = self._by_tag.get(match[0], []) if match else []
        return files[0] if len(files) == 1 and Path(files[0]).name not in text else ""

    def renamed(self, error: RecipeError) -> RecipeError:
        """Return an error that names the files that the user gave."""
        if not isinstance(error, InputError):
            error.args = tuple(self.named(arg) if isinstance(arg, str) else arg for arg in error.args)
            return error
        words = ("item", "expected", "found", "remedy")
        return InputError(
            faults=tuple(
                Fault(
                    self.named(fault.file or self.file_of(str(fault))),
                    *(self.named(getattr(fault, word)) for word in words),
                )
                for fault in error.faults
            )
        )


class GivenNames(logging.Filter):
    """Lets messages name the files that the user gave, not copies of them or their tags alone."""

    def __init__(self, files: InputFiles) -> None:
        super().__init__()
        self._files = files

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a message that names a copy, or warns of a tag without its file."""
        text = self._files.named(record.getMessage())
        file = self._files.file_of(text) if record.levelno == logging.WARNING else ""
        record.msg, record.args = f"{file}: {text}" if file else text, None
        return True
