# SPDX-License-Identifier: BSD-3-Clause
"""Reading OUTPUT_WCS: the grid that a cube is to have, in every form in which FITS can write it.

`astropy.wcs` does the reading, so that CD, PC with CDELT, CDELT alone and CROTA, degrees and arcseconds,
metres, nanometres and Angstrom mean the same here as everywhere. What it finds is written into a header of
one form (CD matrix, degrees, Angstrom in air); a grid that a cube of ours cannot have is refused.
"""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.framework import Frame, InputError
from muse_core.framework.fits_file import open_fits
from muse_core.framework.wcs_keywords import wrong_type

if TYPE_CHECKING:
    from astropy.io.fits import Header

_AXES = ("RA---TAN", "DEC--TAN")
_FLAT = ("PIXEL", "PIXEL"), ("LINEAR", "LINEAR")
_IN_AIR = ("AWAV", "AWAV-LOG")
_OWN_UNITS = ("", "deg"), ("", "Angstrom")
_PC = re.compile(r"PC\d+_\d+")
_FRAMES = ("", "ICRS", "FK5")
_REMEDY = "Give a cube of this recipe, or a header with RA---TAN, DEC--TAN and AWAV."


def read_output_wcs(frame: Frame) -> Header:
    """Return the world coordinates of an OUTPUT_WCS frame in the form that cubes of ours have.

    The first extension that has world coordinates counts, else the primary header. Keywords that are not
    there (sizes of a header alone, the wavelengths of an image) are left to the data.

    Returns
    -------
    Header
        NAXISn, CRPIXn, CRVALn, CDi_j, CTYPE3 as far as they are given; degrees and Angstrom

    Raises
    ------
    InputError
        if there are none, if they cannot be read, or if no cube of ours can have them
    """
    header = find_output_wcs(frame)
    return header if _in_own_form(header) else _converted(frame.path, header)


def output_wcs_as_c(frame: Frame) -> Header | None:
    """Return what the C recipe makes of an OUTPUT_WCS (measured, 2.8.7): some forms are passed over."""
    header = find_output_wcs(frame)
    kind = _text(header, "CTYPE3")
    if kind == "LINEAR" or any(_PC.fullmatch(key) for key in header):
        return None
    return header if kind.startswith("WAVE") else read_output_wcs(frame)


def find_output_wcs(frame: Frame) -> Header:
    """Return the header of an OUTPUT_WCS frame that has the world coordinates, as it is."""
    with open_fits(frame.path) as hdus:
        for hdu in (*hdus[1:], hdus[0]):
            there = hdu.header.get("NAXIS", 0) >= 2 or "CRVAL1" in hdu.header
            if "CTYPE1" in hdu.header and there:
                _check_numbers(frame.path, hdu.header)
                return hdu.header.copy()
    raise InputError(
        frame.path,
        "keywords CTYPE1, CRVAL1",
        expected="a world coordinate system in one of the headers",
        found="none",
        remedy="Give a cube (DATACUBE_FINAL) or a header with the wanted output grid.",
    )


def _check_numbers(path: Path, header: Header) -> None:
    found = wrong_type(header)
    if found is not None:
        key, expected, value = found
        raise _refused(path, f"keyword {key}", expected, value)


def _text(header: Header, key: str) -> str:
    return str(header.get(key, "")).strip()


def _in_own_form(header: Header) -> bool:
    """Tell whether the keywords can be taken as they are, without rounding."""
    types = tuple(_text(header, key) for key in ("CTYPE1", "CTYPE2"))
    third = _text(header, "CTYPE3") in ("", *_IN_AIR) and _text(header, "CUNIT3") in _OWN_UNITS[1]
    units = all(_text(header, key) in _OWN_UNITS[0] for key in ("CUNIT1", "CUNIT2"))
    matrix = "CD1_1" in header and "CD2_2" in header and not any("CDELT" in key for key in header)
    coupled = any(header.get(key, 0.0) for key in ("CD1_3", "CD2_3", "CD3_1", "CD3_2"))
    depth = "CD3_3" in header or "CRVAL3" not in header
    plain = _text(header, "RADESYS") in _FRAMES and not any(
        key in header for key in ("LONPOLE", "LATPOLE", "A_ORDER", "CPDIS1")
    )
    forward = header.get("CD3_3", 1.0) > 0.0 and header.get("CRVAL3", 1.0) > 0.0
    if not (third and matrix and not coupled and forward and _regular(header)):
        return False
    return types in _FLAT or (types == _AXES and units and depth and plain)


def _regular(header: Header) -> bool:
    cd = [float(header.get(key, 0.0)) for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
    return all(map(math.isfinite, cd)) and cd[0] * cd[3] - cd[1] * cd[2] != 0.0


def _converted(path: Path, header: Header) -> Header:
    from astropy.io import fits

    wcs = _parsed(path, header)
    _check_sky(path, wcs)
    matrix, value, reference = wcs.pixel_scale_matrix, wcs.wcs.crval, wcs.wcs.crpix
    result = fits.Header()
    result["NAXIS"] = header.get("NAXIS", 0)
    for axis in range(1, 4):
        if f"NAXIS{axis}" in header:
            result[f"NAXIS{axis}"] = header[f"NAXIS{axis}"]
    for i in (0, 1):
        result[f"CTYPE{i + 1}"] = str(wcs.wcs.ctype[i])
        result[f"CRPIX{i + 1}"], result[f"CRVAL{i + 1}"] = float(reference[i]), float(value[i])
        for j in (0, 1):
            result[f"CD{i + 1}_{j + 1}"] = float(matrix[i, j])
    if not _regular(result):
        raise _refused(path, "matrix of the axes", "two independent axes on the sky", matrix[:2, :2].tolist())
    if wcs.naxis > 2:
        _add_wavelengths(path, wcs, result)
    return result


def _parsed(path: Path, header: Header) -> Any:
    from astropy.wcs import WCS

    known = header.copy()
    for key in ("CUNIT1", "CUNIT2", "CUNIT3"):
        if _text(known, key).lower() in ("a", "angstroms"):
            known[key] = "Angstrom"
    if _text(known, "CTYPE3").upper() in ("LINEAR", "WAVELENGTH") and _text(known, "CUNIT3"):
        known["CTYPE3"] = "AWAV"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy mends spellings of units, dates and the like
            wcs = WCS(known, naxis=min(3, max(2, int(known.get("WCSAXES", known.get("NAXIS", 3)) or 3))))
            wcs.wcs.set()
    except Exception as error:  # wcslib has a class for each of its faults
        raise _refused(
            path, "world coordinates", "keywords of the FITS standard", _first_line(error)
        ) from None
    return wcs


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _check_sky(path: Path, wcs: Any) -> None:
    types = (str(wcs.wcs.ctype[0]), str(wcs.wcs.ctype[1]))
    if types in _FLAT:
        return
    if types != _AXES:
        raise _refused(path, "CTYPE1, CTYPE2", " and ".join(_AXES), ", ".join(types))
    if wcs.sip is not None or wcs.cpdis1 is not None or wcs.det2im1 is not None:
        raise _refused(path, "distortions", "a plain projection", "SIP or lookup tables")
    if abs(wcs.wcs.lonpole - 180.0) > 1e-9:
        raise _refused(path, "LONPOLE", "180 degrees", f"{wcs.wcs.lonpole:g}")
    frame = str(wcs.wcs.radesys).strip()
    if frame not in _FRAMES:
        raise _refused(path, "RADESYS", "ICRS or FK5", frame)


def _add_wavelengths(path: Path, wcs: Any, result: Header) -> None:
    kind = str(wcs.wcs.ctype[2]).strip()
    if kind not in _IN_AIR:
        remedy = _REMEDY
        if kind.startswith("WAVE"):
            remedy = (
                "Convert the axis to wavelengths in air; if they are in air already, say so: CTYPE3 = 'AWAV'."
            )
        raise _refused(path, "CTYPE3", " or ".join(_IN_AIR), kind or "nothing", remedy)
    matrix = wcs.pixel_scale_matrix
    if np.any(matrix[2, :2]) or np.any(matrix[:2, 2]):
        raise _refused(path, "matrix of the axes", "a wavelength axis of its own", matrix.tolist())
    step, start = _angstrom(matrix[2, 2]), _angstrom(wcs.wcs.crval[2])
    if not (math.isfinite(step) and step > 0 and math.isfinite(start) and start > 0):
        raise _refused(
            path, "CRVAL3 and step", "positive wavelengths that increase", f"{start:g}, {step:g} Angstrom"
        )
    result["CTYPE3"], result["CUNIT3"] = kind, "Angstrom"
    result["CRPIX3"], result["CRVAL3"], result["CD3_3"] = float(wcs.wcs.crpix[2]), start, step


def _angstrom(metres: float) -> float:
    """Return Angstrom without the rounding that the way over metres brings in.

    >>> _angstrom(1.25e-10)
    1.25
    """
    return float(f"{metres * 1e10:.13g}")


def _refused(path: Path, item: str, expected: str, found: object, remedy: str = _REMEDY) -> InputError:
    return InputError(path, item, expected=expected, found=found, remedy=remedy)
