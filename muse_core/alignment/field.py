# SPDX-License-Identifier: BSD-3-Clause
"""Field images on disk: what their headers say, whether that can be true, and their pixels.

Nothing is allocated from a size in a header before it was compared with the length of the file.
"""

from __future__ import annotations

import gzip
import io
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .tan import TanWcs

FAR_DEG = {"WFM": 0.5, "NFM": 0.0635}  # half the width of the field that 2.8.7 allows for a mosaic
MAX_UNPACKED = 1 << 31  # of a gzip file
ZIPPED = (".gz", ".GZ")


class FieldError(Exception):
    """One thing wrong with a file: the item, what was expected and found, and the remedy."""

    def __init__(self, item: str, expected: str = "", found: str = "", remedy: str = ""):
        super().__init__(f"{item}: expected {expected}, found {found}")
        self.item = item
        self.expected = expected
        self.found = found
        self.remedy = remedy


@dataclass(frozen=True)
class FieldInfo:
    """All that is kept of a field image between the passes; no pixels and no headers."""

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


@contextmanager
def open_fits(path: Path):
    """Open a FITS file with readable errors, without the warnings of the reader (we check ourselves)."""
    from astropy.io import fits

    if path.is_dir():
        raise FieldError("file", "a FITS file", "a directory")
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise FieldError("file", "a readable FITS file", error.strerror or str(error)) from error
    if size == 0:
        raise FieldError("file", "a FITS file", "an empty file of 0 bytes")
    source = path
    if path.suffix in ZIPPED:
        source = _unpacked(path)
        start = source.getbuffer()[:9].tobytes()
    if start != b"SIMPLE  =":
        raise FieldError("file", "a FITS file starting with SIMPLE", "something else")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            hdus = fits.open(source, memmap=False, lazy_load_hdus=True)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FieldError("file", "a readable FITS file", _line(error)) from error
        with hdus:
            yield hdus


def _unpacked(path: Path) -> io.BytesIO:
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(MAX_UNPACKED + 1)
    except (OSError, EOFError) as error:
        raise FieldError("file", "a gzip file", _line(error)) from error
    if len(content) > MAX_UNPACKED:
        raise FieldError("file", f"at most {MAX_UNPACKED} bytes after unpacking", "more")
    return io.BytesIO(content)


def _line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:120] or type(error).__name__


def _file_length(hdus, path: Path) -> int:
    if path.suffix in ZIPPED:
        stream = hdus.fileinfo(0)["file"]
        here = stream.tell()
        stream.seek(0, 2)
        length = stream.tell()
        stream.seek(here)
        return length
    return path.stat().st_size


def _headers(hdus) -> list:
    """Return all headers; parsing stops with a clear error where the file is broken."""
    headers = []
    try:
        for hdu in hdus:
            headers.append(hdu.header)
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError) as error:
        raise FieldError("file", "readable FITS headers", _line(error)) from error
    return headers


def _value(header, key: str):
    """Value of a keyword or None; also None if the card cannot be parsed."""
    try:
        value = header.get(key)
    except Exception:  # noqa: BLE001  astropy raises several kinds for unparsable cards
        return None
    return None if value is not None and type(value).__name__ == "Undefined" else value


def _number(headers, key: str, what: str = "a finite number", remedy: str = "") -> float:
    for header in headers:
        if key in header:
            value = _value(header, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise FieldError(f"keyword {key}", what, repr(value), remedy)
            return float(value)
    raise FieldError(f"keyword {key}", what, "no such keyword", remedy)


def _text(headers, key: str) -> str:
    for header in headers:
        value = _value(header, key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _is_image(header, number: int) -> bool:
    naxis = _value(header, "NAXIS")
    kind = "IMAGE" if number == 0 else str(_value(header, "XTENSION") or "").strip()
    return kind == "IMAGE" and isinstance(naxis, int) and naxis > 0


def _image_hdu(headers) -> int:
    """Number of the image: the first image extension, else the primary."""
    candidates = [n for n, header in enumerate(headers) if _is_image(header, n)]
    if not candidates:
        raise FieldError("extension DATA", "a two-dimensional image", "no image in the file")
    extensions = [n for n in candidates if n > 0]
    return extensions[0] if extensions else candidates[0]


def _image_shape(header, label: str) -> tuple[int, int]:
    naxis = header["NAXIS"]
    if naxis != 2:
        raise FieldError(f"{label} keyword NAXIS", "2 (an image)", str(naxis))
    shape = []
    for axis in (2, 1):
        value = _value(header, f"NAXIS{axis}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FieldError(f"{label} keyword NAXIS{axis}", "1 or more", repr(value))
        shape.append(value)
    return shape[0], shape[1]


def _check_length(hdus, number: int, header, shape, label: str, length: int) -> None:
    bitpix = _value(header, "BITPIX")
    if bitpix not in (8, 16, 32, 64, -32, -64):
        raise FieldError(f"{label} keyword BITPIX", "8, 16, 32, 64, -32 or -64", repr(bitpix))
    if type(hdus[number]).__name__ == "CompImageHDU":
        return  # tile-compressed: the size is checked against the memory instead
    need = shape[0] * shape[1] * abs(bitpix) // 8
    start = hdus[number].fileinfo()["datLoc"]
    if start + need > length:
        raise FieldError(
            f"{label} data (NAXIS1={shape[1]}, NAXIS2={shape[0]})",
            f"{need} bytes of pixels",
            f"{max(0, length - start)} bytes, the file is truncated",
            "Fetch or make the file again.",
        )


def read_wcs(headers) -> TanWcs:
    """Read the TAN projection; CD, or CDELT with PC or CROTA2, in degrees.

    More tolerant than 2.8.7, which refuses headers without all four CDi_j.
    """
    for axis, wanted in ((1, "RA---TAN"), (2, "DEC--TAN")):
        found = _text(headers, f"CTYPE{axis}")
        if found != wanted:
            raise FieldError(
                f"keyword CTYPE{axis}",
                wanted,
                repr(found) if found else "no such keyword",
                "Align TAN images only.",
            )
        unit = _text(headers, f"CUNIT{axis}")
        if unit not in ("", "deg"):
            raise FieldError(f"keyword CUNIT{axis}", "deg", repr(unit))
    pole = [h for h in headers if "LONPOLE" in h]
    if pole and _number(pole, "LONPOLE") != 180.0:
        raise FieldError("keyword LONPOLE", "180 or none", repr(_value(pole[0], "LONPOLE")))
    crpix = _number(headers, "CRPIX1"), _number(headers, "CRPIX2")
    crval = _number(headers, "CRVAL1"), _number(headers, "CRVAL2")
    if abs(crval[1]) > 90:
        raise FieldError("keyword CRVAL2", "a declination of -90 to 90", str(crval[1]))
    if abs(crval[0]) > 720:
        raise FieldError("keyword CRVAL1", "a right ascension in degrees", str(crval[0]))
    cd = _cd_matrix(headers)
    det = cd[0][0] * cd[1][1] - cd[0][1] * cd[1][0]
    size = sum(v * v for row in cd for v in row)
    if not abs(det) > 1e-6 * size:
        raise FieldError("keywords CDi_j", "a matrix that can be inverted", f"{cd}")
    if math.sqrt(abs(det)) > 0.1:
        raise FieldError(
            "keywords CDi_j", "pixels of a field image", f"pixels of {math.sqrt(abs(det)):g} degrees"
        )
    return TanWcs(crpix, crval, cd)


def _cd_matrix(headers):
    if any(f"CD{i}_{j}" in h for h in headers for i in (1, 2) for j in (1, 2)):
        return tuple(
            tuple(
                _number(headers, f"CD{i}_{j}") if i == j or any(f"CD{i}_{j}" in h for h in headers) else 0.0
                for j in (1, 2)
            )
            for i in (1, 2)
        )
    if not any("CDELT1" in h for h in headers):
        raise FieldError(
            "keyword CD1_1", "a finite number", "no such keyword", "The image has no usable WCS."
        )
    step = _number(headers, "CDELT1"), _number(headers, "CDELT2")
    if any("CROTA2" in h for h in headers):
        angle = math.radians(_number(headers, "CROTA2"))
        cos, sin = math.cos(angle), math.sin(angle)
        return ((step[0] * cos, -step[1] * sin), (step[0] * sin, step[1] * cos))
    pc = [
        [
            _number(headers, f"PC{i}_{j}") if any(f"PC{i}_{j}" in h for h in headers) else float(i == j)
            for j in (1, 2)
        ]
        for i in (1, 2)
    ]
    return tuple(tuple(step[i] * pc[i][j] for j in (0, 1)) for i in (0, 1))


def inspect_field(path: Path, *, need_exptime: bool, complain) -> FieldInfo | None:
    """Read and check the headers of one field image.

    Parameters
    ----------
    path : Path
    need_exptime : bool
        The exposure map was asked for.
    complain : callable
        Takes a FieldError for everything that is wrong.

    Returns
    -------
    FieldInfo or None
        None if anything was wrong.
    """
    faults: list[FieldError] = []

    def attempt(step, *args):
        try:
            return step(*args)
        except FieldError as error:
            faults.append(error)
            return None

    info = None
    try:
        with open_fits(path) as hdus:
            info = _inspect_open(hdus, path, need_exptime, attempt)
    except FieldError as error:
        faults.append(error)
    for fault in faults:
        complain(fault)
    return None if faults else info


def _inspect_open(hdus, path: Path, need_exptime: bool, attempt) -> FieldInfo | None:
    headers = _headers(hdus)
    number = _image_hdu(headers)
    main = headers[number]
    both = [main, headers[0]] if number else [main]
    plain = both[::-1]
    length = _file_length(hdus, path)
    shape = attempt(_image_shape, main, f"extension {number}")
    if shape is not None:
        attempt(_check_length, hdus, number, main, shape, f"extension {number}", length)
    names = [_text([header], "EXTNAME") for header in headers]
    dq = names.index("DQ") if "DQ" in names else None
    if dq is not None and shape is not None:
        dq_shape = attempt(_image_shape, headers[dq], "extension DQ")
        if dq_shape is not None:
            attempt(_check_length, hdus, dq, headers[dq], dq_shape, "extension DQ", length)
            if dq_shape != shape:
                attempt(_raise, FieldError("extension DQ", f"the size of the image {shape}", f"{dq_shape}"))
    wcs = attempt(read_wcs, both)
    mjd = attempt(_number, plain, "MJD-OBS", "the start of the exposure as a number")
    date = _text(plain, "DATE-OBS")
    if not date:
        attempt(
            _raise, FieldError("keyword DATE-OBS", "the start of the exposure as text", "no such keyword")
        )
    raw = next((_value(h, "EXPTIME") for h in plain if "EXPTIME" in h), None)
    exptime = attempt(_number, plain, "EXPTIME", "seconds (needed for expmap)") if need_exptime else None
    if shape is None or wcs is None or mjd is None:
        return None
    return FieldInfo(
        path=path,
        name=path.name,
        hdu=number,
        dq_hdu=dq,
        shape=shape,
        wcs=wcs,
        mjd=mjd,
        date=date,
        mode=_text(plain, "ESO INS MODE"),
        instrument=_text(plain, "INSTRUME"),
        unit=_text(both, "BUNIT"),
        exptime=exptime,
        exptime_is_integer=isinstance(raw, int) and not isinstance(raw, bool),
    )


def _raise(error: FieldError):
    raise error


def read_pixels(info: FieldInfo):
    """Read an inspected image.

    Returns
    -------
    data : float32[ny, nx]
        NaN and infinite values are left in.
    bad : bool[ny, nx]
        Not finite, or any bit of DQ set.
    """
    with open_fits(info.path) as hdus:
        try:
            data = np.asarray(hdus[info.hdu].data, dtype=np.float32)
            bad = ~np.isfinite(data)
            if info.dq_hdu is not None:
                bad |= np.asarray(hdus[info.dq_hdu].data) != 0
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise FieldError("pixels", "a readable image", _line(error)) from error
    return data, bad


def read_header(info: FieldInfo, *, merged: bool = True):
    """Primary header of an image for its products, with the ESO keywords of its extension if ``merged``.

    Of a keyword in both, QC and DRS are those of the extension and others those of the primary header, as in
    the products of 2.8.7.
    """
    with open_fits(info.path) as hdus:
        header = hdus[0].header.copy()
        if info.hdu and merged:
            for card in hdus[info.hdu].header.cards:
                key = card.keyword
                if key.startswith(("ESO QC ", "ESO DRS ")) and key in header:
                    header[key] = (card.value, card.comment)
                elif key.startswith("ESO ") and key not in header:
                    header[f"HIERARCH {key}"] = (card.value, card.comment)
    return header
