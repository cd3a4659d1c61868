# SPDX-License-Identifier: BSD-3-Clause
"""Keywords of a field image that must be right: numbers, texts and the projection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muse_core.data.tangent_plane import TanWcs
from muse_core.framework.errors import InputError

if TYPE_CHECKING:
    from astropy.io.fits import Header

Matrix = tuple[tuple[float, float], tuple[float, float]]


def keyword_value(header: Header, key: str) -> Any:
    """Value of a keyword or None; also None if the card cannot be parsed."""
    try:
        value = header.get(key)
    except Exception:  # noqa: BLE001  astropy raises several kinds for unparsable cards
        return None
    return None if value is not None and type(value).__name__ == "Undefined" else value


class KeywordReader:
    """Keywords of several headers of one file, the first one that has it counts; faults are `InputError`.

    Parameters
    ----------
    path : Path or str
        The file, for the messages.
    headers : sequence of Header
    """

    def __init__(self, path: Path | str, headers: Sequence[Header]) -> None:
        self.path = path
        self._headers = headers

    def __contains__(self, key: str) -> bool:
        return any(key in header for header in self._headers)

    def value(self, key: str) -> Any:
        """Value as it stands, or None."""
        return next((keyword_value(header, key) for header in self._headers if key in header), None)

    def number(self, key: str, expected: str = "a finite number", remedy: str = "") -> float:
        """Return a number that must be there and finite."""
        if key not in self:
            raise self.fault(key, expected, "no such keyword", remedy)
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fault(key, expected, repr(value), remedy)
        return float(value)

    def text(self, key: str) -> str:
        """Return the first text that is not blank, or ""."""
        for header in self._headers:
            value = keyword_value(header, key)
            if isinstance(value, str) and value.strip():
                return value.strip()
        return ""

    def fault(self, key: str, expected: str, found: str, remedy: str = "") -> InputError:
        """Make the error about one keyword (or "CDi_j" for several)."""
        word = "keywords" if key == "CDi_j" else "keyword"
        return InputError(self.path, f"{word} {key}", expected=expected, found=found, remedy=remedy)


def read_wcs(headers: Sequence[Header], path: Path | str = "") -> TanWcs:
    """Read the TAN projection; CD, or CDELT with PC or CROTA2, in degrees.

    More tolerant than 2.8.7, which refuses headers without all four CDi_j.
    """
    keys = KeywordReader(path, headers)
    for axis, wanted in ((1, "RA---TAN"), (2, "DEC--TAN")):
        found = keys.text(f"CTYPE{axis}")
        if found != wanted:
            shown = repr(found) if found else "no such keyword"
            raise keys.fault(f"CTYPE{axis}", wanted, shown, "Align TAN images only.")
        unit = keys.text(f"CUNIT{axis}")
        if unit not in ("", "deg"):
            raise keys.fault(f"CUNIT{axis}", "deg", repr(unit))
    if "LONPOLE" in keys and keys.number("LONPOLE") != 180.0:
        raise keys.fault("LONPOLE", "180 or none", repr(keys.value("LONPOLE")))
    crpix = keys.number("CRPIX1"), keys.number("CRPIX2")
    crval = keys.number("CRVAL1"), keys.number("CRVAL2")
    if abs(crval[1]) > 90:
        raise keys.fault("CRVAL2", "a declination of -90 to 90", str(crval[1]))
    if abs(crval[0]) > 720:
        raise keys.fault("CRVAL1", "a right ascension in degrees", str(crval[0]))
    cd = _cd_matrix(keys)
    det = cd[0][0] * cd[1][1] - cd[0][1] * cd[1][0]
    size = sum(v * v for row in cd for v in row)
    if not abs(det) > 1e-6 * size:
        raise keys.fault("CDi_j", "a matrix that can be inverted", f"{cd}")
    if math.sqrt(abs(det)) > 0.1:
        raise keys.fault("CDi_j", "pixels of a field image", f"pixels of {math.sqrt(abs(det)):g} degrees")
    return TanWcs(crpix, crval, cd)


def _cd_matrix(keys: KeywordReader) -> Matrix:
    if any(f"CD{i}_{j}" in keys for i in (1, 2) for j in (1, 2)):
        return _matrix(keys, "CD", (None, 0.0))
    if "CDELT1" not in keys:
        raise keys.fault("CD1_1", "a finite number", "no such keyword", "The image has no usable WCS.")
    step = keys.number("CDELT1"), keys.number("CDELT2")
    if "CROTA2" in keys:
        angle = math.radians(keys.number("CROTA2"))
        cosine, sine = math.cos(angle), math.sin(angle)
        return (step[0] * cosine, -step[1] * sine), (step[0] * sine, step[1] * cosine)
    (a, b), (c, d) = _matrix(keys, "PC", (1.0, 0.0))
    return (step[0] * a, step[0] * b), (step[1] * c, step[1] * d)


def _matrix(keys: KeywordReader, name: str, default: tuple[float | None, float]) -> Matrix:
    """Read four keywords; ``default`` of those on the diagonal (None: they must be there) and beside it."""

    def element(i: int, j: int) -> float:
        missing = default[0] if i == j else default[1]
        key = f"{name}{i}_{j}"
        return missing if missing is not None and key not in keys else keys.number(key)

    return (element(1, 1), element(1, 2)), (element(2, 1), element(2, 2))
