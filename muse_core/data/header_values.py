# SPDX-License-Identifier: BSD-3-Clause
"""Typed look-ups in a FITS header given as any mapping with ``get``.

CPL's typed getters refuse an integer where a float is expected, so the C pipeline treats ``POSANG = 45``
as if the keyword were absent.  Here integers are read as the numbers they are, unless that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from muse_core.framework.errors import InputError


class Header(Protocol):
    """What the fit functions need of a header: an astropy ``Header`` or a plain ``dict``."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a keyword or the default."""
        ...


def get_float(header: Header, key: str, *, integers_missing: bool = False) -> float | None:
    """Return a keyword as float, or None if it is absent or not a finite number.

    >>> get_float({"EXPTIME": 600}, "EXPTIME")
    600.0
    >>> get_float({"EXPTIME": 600}, "EXPTIME", integers_missing=True) is None
    True
    """
    value = header.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if integers_missing and not isinstance(value, float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer that no float can hold
        return None


def stated_number(path: Path | str, header: Header, key: str, default: float) -> float:
    """Return a keyword as a finite float, or the default if it is absent.

    >>> [stated_number("mask.fits", {"CRPIX1": 3}, key, 0.0) for key in ("CRPIX1", "CRPIX2")]
    [3.0, 0.0]

    Raises
    ------
    InputError
        naming the file and the keyword, whose value is no number
    """
    value = header.get(key)
    if value is None:
        return default
    number = get_float(header, key)
    if number is None:
        raise InputError(path, f"keyword {key}", expected="a finite number", found=repr(value))
    return number


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


def seven_digits(value: float) -> float:
    """Round as CPL prints single-precision keywords.

    >>> seven_digits(149.90525817871094)
    149.9053
    """
    return float(f"{value:.7g}")


def single_precision(value: float) -> float:
    """Value with the seven digits of a single-precision keyword."""
    return seven_digits(float(np.float32(value)))


class Keywords:
    """The header of one exposure, read by one rule; made once and handed to everything that is fitted.

    Parameters
    ----------
    header : an astropy ``Header`` or a plain ``dict``
    integers_missing : integers where a float is expected count as missing (a defect of the C recipes)
    replaced : values that stand in place of those of the header (the parameter ``superflat_pos``)

    Examples
    --------
    >>> words = Keywords({"EXPTIME": 600, "RA": 10.5}, replaced={"RA": 11.0})
    >>> words.number("EXPTIME"), words.number("RA"), words.number("DEC")
    (600.0, 11.0, None)
    >>> Keywords({"EXPTIME": 600}, integers_missing=True).number("EXPTIME") is None
    True
    """

    __slots__ = ("_integers_missing", "_replaced", "header")

    def __init__(
        self,
        header: Header,
        *,
        integers_missing: bool = False,
        replaced: Mapping[str, float] | None = None,
    ) -> None:
        self.header = header
        self._integers_missing = integers_missing
        self._replaced = dict(replaced or {})

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a keyword as it stands, or the default."""
        return self._replaced[key] if key in self._replaced else self.header.get(key, default)

    def number(self, key: str) -> float | None:
        """Return a keyword as float, or None if it is absent or not a finite number."""
        return get_float(self, key, integers_missing=self._integers_missing)

    def text(self, key: str) -> str | None:
        """Return a keyword as text without trailing blanks, or None if it is absent or not text."""
        return get_str(self, key)

    def with_replaced(self, values: Mapping[str, float]) -> Keywords:
        """Return the same header with more values in place of its own.

        >>> Keywords({"RA": 10.5, "DEC": 1.0}, replaced={"RA": 11.0}).with_replaced({"DEC": 2.0}).number("RA")
        11.0
        """
        return Keywords(
            self.header, integers_missing=self._integers_missing, replaced={**self._replaced, **values}
        )

    def without_replacements(self) -> Keywords:
        """Return the same header read by the same rule, with its own values."""
        return Keywords(self.header, integers_missing=self._integers_missing)
