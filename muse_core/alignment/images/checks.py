# SPDX-License-Identifier: BSD-3-Clause
"""What the headers of all field images say, whether that can be true, and whether they belong together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from muse_core.alignment.images.field import FAR_DEG, FieldInfo
from muse_core.alignment.images.headers import KeywordReader, keyword_value, read_wcs
from muse_core.alignment.images.opening import first_line
from muse_core.alignment.sphere import separation
from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import check
from muse_core.framework.context import RunContext
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError, Problems
from muse_core.framework.fits_file import open_fits
from muse_core.framework.spec import ParamValues

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

T = TypeVar("T")
BITPIX = (8, 16, 32, 64, -32, -64)


def inspect_fields(paths: Iterable[Path], p: ParamValues, ctx: RunContext) -> list[FieldInfo]:
    """Look at the headers of all images; what is wrong goes to the problems of the run.

    Right ascensions on the other side of 0 are brought to the side of the first exposure.
    """
    fields = []
    for path in paths:
        info = inspect_field(path, need_exptime=p.expmap, problems=ctx.problems)
        if info is not None:
            check(path, INPUT_RULES["IMAGE_FOV"], {"MJD-OBS": info.mjd, "EXPTIME": info.exptime}, ctx)
            fields.append(_usable_exptime(info, ctx.defects, ctx.log) if p.expmap else info)
    if not fields:
        return fields
    _warn_about(fields, ctx.log)
    if not ctx.defects.no_match_across_ra_zero:
        fields = [same_side(info, fields[0].wcs.crval[0]) for info in fields]
        _check_distance(fields, ctx.problems)
    return fields


def _usable_exptime(info: FieldInfo, defects: Defects, log: logging.Logger) -> FieldInfo:
    if defects.integer_exptime_is_zero and info.exptime_is_integer:
        return replace(info, exptime=0.0)
    if info.exptime is not None and info.exptime < 0:
        log.warning("%s: EXPTIME is negative (%g s), 0 is used for the exposure map", info.path, info.exptime)
        return replace(info, exptime=0.0)
    return info


def same_side(info: FieldInfo, ra: float) -> FieldInfo:
    """Return the field with its right ascension within half a turn of another one."""
    turns = round((ra - info.wcs.crval[0]) / 360.0)
    return replace(info, wcs=info.wcs.moved(360.0 * turns, 0.0)) if turns else info


def _warn_about(fields: Sequence[FieldInfo], log: logging.Logger) -> None:
    first: dict[float, FieldInfo] = {}
    for info in fields:
        if info.instrument != "MUSE":
            log.warning("%s: INSTRUME is %r, not 'MUSE'", info.path, info.instrument)
        if not info.mode:
            log.warning("%s: no ESO INS MODE, the wide field is assumed", info.path)
        if info.mjd in first:
            log.warning(
                "%s: MJD-OBS %r is that of %s, too; muse_exp_combine cannot tell their offsets apart",
                info.path,
                info.mjd,
                first[info.mjd].path,
            )
        first.setdefault(info.mjd, info)
    families = {info.family for info in fields}
    if len(families) > 1:
        log.warning(
            "ESO INS MODE: wide-field and narrow-field images are mixed (%s); their pixel sizes differ",
            ", ".join(f"{info.path}: {info.mode or 'none'}" for info in fields),
        )


def _check_distance(fields: Sequence[FieldInfo], problems: Problems) -> None:
    reference = fields[0]
    limit = FAR_DEG[reference.family]
    ra0, dec0 = reference.centre
    for info in fields[1:]:
        distance = separation(*info.centre, ra0, dec0)
        if distance > limit:
            problems.add(
                info.path,
                "keywords CRVAL1, CRVAL2",
                expected=f"a field within {limit:g} degrees of the first exposure {reference.path}",
                found=f"{distance:.3g} degrees",
                remedy="Align the fields of one target at a time.",
            )


def inspect_field(
    path: Path, *, need_exptime: bool, need_date: bool = True, problems: Problems
) -> FieldInfo | None:
    """Read and check the headers of one field image; None if anything was wrong (it is in ``problems``)."""
    mine = Problems()
    try:
        with open_fits(path) as hdus:
            info = _inspect_open(hdus, path, need_exptime, need_date, mine)
        mine.raise_if_any()
    except InputError as error:
        problems.extend(error)
        return None
    return info


def _attempt(problems: Problems, step: Callable[..., T], *args: object) -> T | None:
    """Do one step; a fault that it finds is noted, and the others are looked for."""
    try:
        return step(*args)
    except InputError as error:
        problems.extend(error)
        return None


def _inspect_open(
    hdus: HDUList, path: Path, need_exptime: bool, need_date: bool, problems: Problems
) -> FieldInfo | None:
    headers = _headers(hdus, path)
    number = _image_hdu(headers, path)
    main = headers[number]
    both = [main, headers[0]] if number else [main]
    plain = KeywordReader(path, both[::-1])
    length = path.stat().st_size
    label = f"extension {number}"
    shape = _attempt(problems, _image_shape, main, label, path)
    if shape is not None:
        _attempt(problems, _check_length, hdus, number, shape, label, length, path)
    names = [KeywordReader(path, [header]).text("EXTNAME") for header in headers]
    dq = names.index("DQ") if "DQ" in names else None
    if dq is not None and shape is not None:
        dq_shape = _attempt(problems, _image_shape, headers[dq], "extension DQ", path)
        if dq_shape is not None:
            _attempt(problems, _check_length, hdus, dq, dq_shape, "extension DQ", length, path)
            if dq_shape != shape:
                expected = f"the size of the image {shape}"
                problems.add(path, "extension DQ", expected=expected, found=f"{dq_shape}")
    wcs = _attempt(problems, read_wcs, both, path)
    mjd: float | None = 0.0
    if need_date:
        mjd = _attempt(problems, plain.number, "MJD-OBS", "the start of the exposure as a number")
    date = plain.text("DATE-OBS")
    if not date and need_date:
        expected = "the start of the exposure as text"
        problems.add(path, "keyword DATE-OBS", expected=expected, found="no such keyword")
    exptime = (
        _attempt(problems, plain.number, "EXPTIME", "seconds (needed for expmap)") if need_exptime else None
    )
    if shape is None or wcs is None or mjd is None:
        return None
    raw = plain.value("EXPTIME")
    return FieldInfo(
        path=path,
        name=path.name,
        hdu=number,
        dq_hdu=dq,
        shape=shape,
        wcs=wcs,
        mjd=mjd,
        date=date,
        mode=plain.text("ESO INS MODE"),
        instrument=plain.text("INSTRUME"),
        unit=KeywordReader(path, both).text("BUNIT"),
        exptime=exptime,
        exptime_is_integer=isinstance(raw, int) and not isinstance(raw, bool),
    )


def _headers(hdus: HDUList, path: Path) -> list[Header]:
    """Return all headers; parsing stops with a clear error where the file is broken."""
    headers = []
    try:
        for hdu in hdus:
            headers.append(hdu.header)
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError) as error:
        found = first_line(error)
        raise InputError(path, "file", expected="readable FITS headers", found=found) from error
    return headers


def _is_image(header: Header, number: int) -> bool:
    naxis = keyword_value(header, "NAXIS")
    kind = "IMAGE" if number == 0 else str(keyword_value(header, "XTENSION") or "").strip()
    return kind == "IMAGE" and isinstance(naxis, int) and naxis > 0


def _image_hdu(headers: Sequence[Header], path: Path) -> int:
    """Number of the image: the first image extension, else the primary."""
    candidates = [n for n, header in enumerate(headers) if _is_image(header, n)]
    if not candidates:
        raise InputError(
            path, "extension DATA", expected="a two-dimensional image", found="no image in the file"
        )
    extensions = [n for n in candidates if n > 0]
    return extensions[0] if extensions else candidates[0]


def _image_shape(header: Header, label: str, path: Path) -> tuple[int, int]:
    naxis = header["NAXIS"]
    if naxis != 2:
        raise InputError(path, f"{label} keyword NAXIS", expected="2 (an image)", found=naxis)
    shape = []
    for axis in (2, 1):
        value = keyword_value(header, f"NAXIS{axis}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(path, f"{label} keyword NAXIS{axis}", expected="1 or more", found=repr(value))
        shape.append(value)
    return shape[0], shape[1]


def _check_length(
    hdus: HDUList, number: int, shape: tuple[int, int], label: str, length: int, path: Path
) -> None:
    bitpix = keyword_value(hdus[number].header, "BITPIX")
    if bitpix not in BITPIX:
        expected = "8, 16, 32, 64, -32 or -64"
        raise InputError(path, f"{label} keyword BITPIX", expected=expected, found=repr(bitpix))
    if type(hdus[number]).__name__ == "CompImageHDU":
        return  # tile-compressed: the size is checked against the memory instead
    need = shape[0] * shape[1] * abs(bitpix) // 8
    start = hdus[number].fileinfo()["datLoc"]
    if start + need > length:
        raise InputError(
            path,
            f"{label} data (NAXIS1={shape[1]}, NAXIS2={shape[0]})",
            expected=f"{need} bytes of pixels",
            found=f"{max(0, length - start)} bytes, the file is truncated",
            remedy="Fetch or make the file again.",
        )
