# SPDX-License-Identifier: BSD-3-Clause
"""Keywords of world coordinates whose values are of a type that they cannot have.

Libraries that read world coordinates take the types for granted: a number in place of a text ends there in
words of the interpreter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_TEXTS = re.compile(r"(?:CTYPE|CUNIT|CNAME)[1-9]|RADESYS|RADECSYS|SPECSYS|WCSNAME")
_FRAMES = ("", "ICRS", "FK5", "FK4", "FK4-NO-E", "GAPPT")
_NUMBERS = re.compile(
    r"(?:CRVAL|CRPIX|CDELT|CROTA|CRDER)[1-9]|(?:CD|PC|PV)[1-9]_\d+|LONPOLE|LATPOLE|EQUINOX|RESTFRQ|"
    r"RESTWAV|WCSAXES"
)


def wrong_type(header: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return keyword, expected and found of the first keyword of world coordinates of a wrong type.

    >>> wrong_type({"CTYPE1": "RA---TAN", "CTYPE2": -1})
    ('CTYPE2', 'a text', '-1')
    >>> wrong_type({"CRVAL1": "north"})
    ('CRVAL1', 'a number', "'north'")
    """
    for key in header:
        if _TEXTS.fullmatch(key) and not isinstance(header[key], str):
            return key, "a text", repr(header[key])
        if key in ("RADESYS", "RADECSYS") and header[key].strip() not in _FRAMES:
            return key, f"one of {', '.join(_FRAMES[1:])}", repr(header[key])
        if _NUMBERS.fullmatch(key):
            value = header[key]
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                return key, "a number", repr(value)
    return None
