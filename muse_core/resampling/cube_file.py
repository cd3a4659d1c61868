# SPDX-License-Identifier: BSD-3-Clause
"""Cube files: a writer that streams planes, and a reader that maps them.

`CubeWriter` lays the whole file out first and then accepts planes in any order, from any thread, so a
cube never has to be in memory.  The DATASUM of each extension is accumulated on the way (a ones'
complement sum does not depend on the order of the words).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from astropy.io import fits

from muse_core.framework.checksums import ones_complement
from muse_core.framework.fits_file import open_fits
from muse_core.framework.products import DataSums
from muse_core.resampling.cube_cards import Card, cube_cards

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from muse_core.resampling.grid import OutputGrid

BLOCK = 2880
CARDS_PER_BLOCK = 36


def image_extension_header(bitpix: int, shape: tuple[int, ...], cards: Iterable[Card]) -> fits.Header:
    """Complete header of an image extension; ``shape`` in numpy order (slowest axis first)."""
    header = fits.Header()
    header["XTENSION"] = ("IMAGE", "IMAGE extension")
    header["BITPIX"] = (bitpix, "number of bits per data pixel")
    header["NAXIS"] = (len(shape), "number of data axes")
    for n, length in enumerate(reversed(shape), 1):
        header[f"NAXIS{n}"] = (int(length), f"length of data axis {n}")
    header["PCOUNT"] = (0, "required keyword; must = 0")
    header["GCOUNT"] = (1, "required keyword; must = 1")
    for key, value, comment in cards:
        header.append(fits.Card(*header_card(key, value, comment)))
    add_sum_cards(header)
    return header


def header_card(key: str, value: object, comment: str = "") -> Card:
    """Make a card that astropy writes without complaint: HIERARCH where needed, the comment cut to fit."""
    long_key = len(key) > 8 or " " in key
    if not long_key:
        return key, value, comment
    text = len(value) + 2 + value.count("'") if isinstance(value, str) else len(str(value)) + 4
    room = 80 - len(f"HIERARCH {key} = ") - max(text, 10) - 3
    return f"HIERARCH {key}", value, comment[:room].rstrip() if room > 3 else ""


def add_sum_cards(header: fits.Header, datasum: int = 0) -> None:
    """Append CHECKSUM (a placeholder for the signing step) and DATASUM."""
    for key in ("CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    header["DATASUM"] = (f"{datasum:10d}", "data unit checksum")


DTYPES: dict[int, npt.DTypeLike] = {16: np.int16, -32: np.float32, -64: np.float64}
"""Of the images that can be streamed, by BITPIX."""


def word_sum(values: npt.NDArray, first: int = 0) -> int:
    """Sum of the big-endian words of native values (their bit patterns as numbers).

    Parameters
    ----------
    first : int
        number of the first value in its data unit: two int16 make a word
    """
    flat = values.reshape(-1)
    if flat.dtype.itemsize != 2:
        return int(flat.view(np.uint32).sum(dtype=np.uint64))
    halves = flat.view(np.uint16)
    high, low = halves[first % 2 :: 2], halves[(first + 1) % 2 :: 2]
    return int(high.sum(dtype=np.uint64)) * 65536 + int(low.sum(dtype=np.uint64))


def write_all(descriptor: int, buffer: Any, offset: int) -> None:
    """Write a whole buffer at a file offset; safe from several threads."""
    view = memoryview(buffer).cast("B")
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def padded(size: int) -> int:
    """Size rounded up to whole FITS blocks."""
    return -(-size // BLOCK) * BLOCK


class StreamedImage:
    """The data unit of one image extension inside an open file, written row block by row block.

    "Rows" are the elements of the slowest axis: planes of a cube, lines of an image.
    """

    def __init__(
        self, path: Path, descriptor: int, header: fits.Header, start: int, shape: tuple[int, ...]
    ) -> None:
        self._path = path
        self._descriptor = descriptor
        self.header = header
        self.header_bytes = header.tostring().encode("ascii")
        self.header_start = start
        self.data_start = start + len(self.header_bytes)
        self.shape = tuple(int(length) for length in shape)
        self.row_size = int(np.prod(self.shape[1:]))
        self.dtype = np.dtype(DTYPES[header["BITPIX"]])
        self.row_bytes = self.dtype.itemsize * self.row_size
        self.end = self.data_start + padded(self.row_bytes * self.shape[0])
        self._sum = 0
        self._written = np.zeros(self.shape[0], dtype=bool)
        self._lock = threading.Lock()
        write_all(descriptor, self.header_bytes, start)

    @property
    def datasum(self) -> int:
        """DATASUM of what was written so far."""
        return ones_complement(self._sum)

    def write_rows(self, first: int, values: npt.NDArray) -> int:
        """Write rows first, first+1, ...; each row may be written once, in any order, from any thread.

        Returns
        -------
        int
            sum of their words
        """
        values, words = self._noted(first, values)
        stored = values.astype(self.dtype.newbyteorder(">"))
        write_all(self._descriptor, stored, self.data_start + self.row_bytes * first)
        return words

    def note_rows(self, first: int, values: npt.NDArray) -> int:
        """Take rows that are in the file already as written; returns the sum of their words."""
        return self._noted(first, values)[1]

    def _noted(self, first: int, values: npt.NDArray) -> tuple[npt.NDArray, int]:
        """Count rows as written; returns them in the type of the image, and the sum of their words."""
        values = np.ascontiguousarray(values, dtype=self.dtype)
        if values.shape[1:] != self.shape[1:] or first < 0 or first + len(values) > self.shape[0]:
            raise ValueError(f"rows {first} + {values.shape} do not fit into {self.shape}")
        words = word_sum(values, first * self.row_size)
        with self._lock:
            if self._written[first : first + len(values)].any():
                raise ValueError(f"rows from {first} on were written before")
            self._written[first : first + len(values)] = True
            self._sum += words
        return values, words

    def read_rows(self, first: int, stop: int) -> npt.NDArray:
        """Return rows that are in the file, in the type of the image; what the file does not have is 0.

        They are read, not mapped: pages of a mapped file count as memory of the process.
        """
        stored = np.zeros((stop - first, *self.shape[1:]), self.dtype.newbyteorder(">"))
        rest, offset = stored.view(np.uint8).reshape(-1).data, self.data_start + self.row_bytes * first
        while rest and (count := os.preadv(self._descriptor, [rest], offset)):
            rest, offset = rest[count:], offset + count
        return stored.byteswap(inplace=True).view(self.dtype) if stored.dtype != self.dtype else stored

    def view(self) -> npt.NDArray:
        """What was written so far, mapped from the file (big-endian)."""
        stored = self.dtype.newbyteorder(">")
        return np.memmap(self._path, dtype=stored, mode="r", offset=self.data_start, shape=self.shape)

    def finish(self) -> None:
        """Check that nothing is missing and put DATASUM into the header."""
        if not self._written.all():
            missing = int(np.flatnonzero(~self._written)[0])
            count = int((~self._written).sum())
            raise ValueError(f"{count} of {self.shape[0]} rows were not written (first: {missing})")
        add_sum_cards(self.header, self.datasum)
        text = self.header.tostring().encode("ascii")
        if len(text) != len(self.header_bytes):
            raise ValueError("the header changed its size while the data were written")
        write_all(self._descriptor, text, self.header_start)


class StreamedFile:
    """A FITS file of a primary header and image extensions whose data arrive in pieces.

    Parameters
    ----------
    path : path
    primary_header : Header
        Written first; `finish` may replace it by a longer or shorter one.
    extensions : sequence of (header, shape)
        From `image_extension_header`.
    reserve_cards : int
        Room kept in the primary header for cards that become known later (QC keywords). Unused room
        stays as blank cards; if the final header needs more room, the data are moved.
    keep : bool
        Leave the data of a file that is there as they are: it was begun in the same way before.
    """

    def __init__(
        self,
        path: Path | str,
        primary_header: fits.Header,
        extensions: Sequence[tuple[fits.Header, tuple[int, ...]]],
        reserve_cards: int = 0,
        *,
        keep: bool = False,
    ) -> None:
        self.path = Path(path)
        self.sums = DataSums()
        flags = os.O_RDWR | os.O_CREAT | (0 if keep else os.O_TRUNC)
        self._descriptor = os.open(self.path, flags, 0o666)
        try:
            blocks = -(-(len(primary_header) + reserve_cards + 1) // CARDS_PER_BLOCK)
            self._primary_size = blocks * BLOCK
            write_all(self._descriptor, primary_bytes(primary_header, self._primary_size), 0)
            self.images: list[StreamedImage] = []
            offset = self._primary_size
            for header, shape in extensions:
                image = StreamedImage(self.path, self._descriptor, header, offset, shape)
                self.images.append(image)
                offset = image.end
            os.posix_fallocate(self._descriptor, 0, offset)  # a full disk is noticed here, not after hours
            if keep:
                os.ftruncate(self._descriptor, offset)
            self._end = offset
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def hash_rows(self, stop: int) -> None:
        """Take the rows of the first image below `stop`, all of them written, into the MD5 of the data."""
        if self._descriptor < 0:
            raise ValueError(f"{self.path} is closed")
        image = self.images[0]
        end = image.row_bytes * stop
        while (done := self.sums.hashed) < end:
            self.sums.add(os.pread(self._descriptor, min(end - done, 1 << 22), image.data_start + done))

    def finish(self, primary_header: fits.Header | None = None, hdus: Iterable[fits.ImageHDU] = ()) -> None:
        """Complete the file: DATASUM of the extensions, further small HDUs, the final primary header."""
        if self._descriptor < 0:
            raise ValueError(f"{self.path} is closed")
        for image in self.images:
            image.finish()
        self.sums.sums = [0, *(image.datasum for image in self.images)]
        for hdu in hdus:
            self._append(hdu)
        if primary_header is not None:
            self._replace_primary(primary_header)
        self._close()

    def _append(self, hdu: fits.ImageHDU) -> None:
        data = np.ascontiguousarray(hdu.data)
        stored = data.astype(data.dtype.newbyteorder(">"))
        self.sums.sums.append(ones_complement(int(stored.view(">u4").sum(dtype=np.uint64))))
        add_sum_cards(hdu.header, self.sums.sums[-1])
        text = hdu.header.tostring().encode("ascii")
        write_all(self._descriptor, text, self._end)
        write_all(self._descriptor, stored, self._end + len(text))
        self._end += len(text) + padded(stored.nbytes)
        os.ftruncate(self._descriptor, self._end)

    def _replace_primary(self, header: fits.Header) -> None:
        needed = padded(80 * (len(header) + 1))
        if needed > self._primary_size:
            self._move(needed - self._primary_size)
        write_all(self._descriptor, primary_bytes(header, self._primary_size), 0)

    def _move(self, shift: int, chunk: int = 1 << 24) -> None:
        """Move everything behind the primary header towards the end by ``shift`` bytes."""
        start, end = self._primary_size, self._end
        for position in reversed(range(start, end, chunk)):
            piece = os.pread(self._descriptor, min(chunk, end - position), position)
            write_all(self._descriptor, piece, position + shift)
        self._end += shift
        self._primary_size += shift


class CubeWriter(StreamedFile):
    """Write a cube (primary header, DATA, STAT) whose planes arrive in any order.

    Parameters
    ----------
    path : path
        File to create (a temporary name; the caller signs and renames it).
    primary_header : Header
        Primary header as far as it is known; see `finish`.
    grid : OutputGrid
        Geometry (duck-typed: nx, ny, nz, crpix, crval, cd, ctype, cunit, log_wavelength).
    data_unit : str
        BUNIT of the data, e.g. "count".
    object_name : str
        OBJECT of the observation; the extensions get "<name> (DATA)" and "<name> (STAT)".
    sdp : bool, optional
        Headers of the Phase 3 flavour (format=sdpCube).
    reserve_cards : int, optional
        Room for cards that `finish` will add to the primary header.
    more : cards, optional
        Of one more extension, int16, with the number of exposures in each voxel.
    keep : bool, optional
        Leave the planes of a file that is there as they are.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np, tempfile
    >>> from astropy.io import fits
    >>> grid = SimpleNamespace(
    ...     nx=3, ny=2, nz=2, crpix=(1, 1, 1), crval=(10, 20, 5000), cd=np.diag([-1.0, 1.0, 1.25]),
    ...     ctype=("RA---TAN", "DEC--TAN", "AWAV"), cunit=("deg", "deg", "Angstrom"), log_wavelength=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with CubeWriter(f"{folder}/cube.fits", fits.PrimaryHDU().header, grid, "count", "M33") as cube:
    ...         for k in (1, 0):
    ...             _ = cube.write_planes(k, np.full((1, 2, 3), k), np.ones((1, 2, 3)))
    ...         cube.finish()
    ...     print(fits.getdata(f"{folder}/cube.fits", "DATA").mean(axis=(1, 2)))
    [0. 1.]
    """

    def __init__(
        self,
        path: Path | str,
        primary_header: fits.Header,
        grid: OutputGrid,
        data_unit: str,
        object_name: str,
        *,
        sdp: bool = False,
        reserve_cards: int = 0,
        more: Iterable[Card] = (),
        keep: bool = False,
    ) -> None:
        shape = (int(grid.nz), int(grid.ny), int(grid.nx))
        extensions = [
            (image_extension_header(-32, shape, cube_cards(grid, name, data_unit, object_name, sdp)), shape)
            for name in ("DATA", "STAT")
        ]
        cards = tuple(more)
        if cards:
            extensions.append((image_extension_header(16, shape, cards), shape))
        super().__init__(path, primary_header, extensions, reserve_cards, keep=keep)

    def write_planes(
        self,
        k0: int,
        data: np.ndarray,
        stat: np.ndarray,
        exposures: np.ndarray | None = None,
        *,
        stored: bool = False,
    ) -> tuple[int, ...]:
        """Write planes k0, k0+1, ... of data, variance and exposures ([n, ny, nx]), each plane once.

        Parameters
        ----------
        stored : bool
            they are in the file already

        Returns
        -------
        tuple of int
            the sums of their words
        """
        return tuple(
            image.note_rows(k0, values) if stored else image.write_rows(k0, values)
            for image, values in zip(self.images, (data, stat, exposures))
            if values is not None
        )


def primary_bytes(header: fits.Header, size: int) -> bytes:
    """Primary header of at least ``size`` bytes, filled up with blank cards; absent sums get placeholders."""
    header = header.copy()
    for key, value in (("CHECKSUM", "0" * 16), ("DATASUM", f"{0:10d}")):
        if key not in header:
            header[key] = value
    cards = header.tostring(sep="", endcard=False, padding=False)
    size = max(size, padded(len(cards) + 80))
    cards = cards.ljust(size - BLOCK)  # END belongs into the last block
    return (cards + "END".ljust(80)).ljust(size).encode("ascii")


class CubeReader:
    """Memory-mapped view of a finished cube: ``data`` and ``stat`` as big-endian float32[nz, ny, nx]."""

    def __init__(self, path: Path | str) -> None:
        with open_fits(Path(path), memmap=True) as hdus:
            self.primary_header = hdus[0].header.copy()
            self.header = hdus["DATA"].header.copy()
            self.stat_header = hdus["STAT"].header.copy()
            spans = {name: hdus[name].fileinfo()["datLoc"] for name in ("DATA", "STAT")}
        shape = (self.header["NAXIS3"], self.header["NAXIS2"], self.header["NAXIS1"])
        self.data = np.memmap(path, dtype=">f4", mode="r", offset=spans["DATA"], shape=shape)
        self.stat = np.memmap(path, dtype=">f4", mode="r", offset=spans["STAT"], shape=shape)
