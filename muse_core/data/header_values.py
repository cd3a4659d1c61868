# SPDX-License-Identifier: BSD-3-Clause
"""Typed look-ups in a FITS header given as any mapping with ``get``.

CPL's typed getters refuse an integer where a float is expected, so the C pipeline treats ``POSANG = 45``
as if the keyword were absent.  Here integers are read as the numbers they are, except with ``compat``.
"""

from __future__ import annotations

import math
from typing import Any, Protocol


class Header(Protocol):
    """What the fit functions need of a header: an astropy ``Header`` or a plain ``dict``."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a keyword or the default."""
        ...


def get_float(header: Header, key: str, *, compat: bool = False) -> float | None:
    """Return a keyword as float, or None if it is absent or not a finite number.

    >>> get_float({"EXPTIME": 600}, "EXPTIME")
    600.0
    >>> get_float({"EXPTIME": 600}, "EXPTIME", compat=True) is None
    True
    """
    value = header.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if compat and not isinstance(value, float):
        return None
    return float(value) if math.isfinite(value) else None


def get_str(header: Header, key: str) -> str | None:
    """Return a keyword as text without trailing blanks, or None if it is absent or not text."""
    value = header.get(key)
    return value.rstrip() if isinstance(value, str) else None


def is_narrow_field(header: Header) -> bool:
    """Say whether the exposure was taken in the narrow-field mode (``INS MODE`` = NFM-...)."""
    return (get_str(header, "ESO INS MODE") or "").startswith("NFM")


def uses_laser_guide_stars(header: Header) -> bool:
    """Say whether the lasers were on (``INS MODE`` = WFM-AO-... or NFM-AO-...)."""
    return (get_str(header, "ESO INS MODE") or "").startswith(("WFM-AO", "NFM-AO"))
