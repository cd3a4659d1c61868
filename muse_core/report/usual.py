# SPDX-License-Identifier: BSD-3-Clause
"""Usual ranges of QC keywords: what lies outside deserves a look, no more."""

from __future__ import annotations

import re

_NUMBER = r"\d+"
USUAL: tuple[tuple[str, float, float, str], ...] = (
    (rf"QC \w+ FWHM{_NUMBER} [XY]", 0.2, 2.5, "arcsec"),
    (r"QC \w+ FWHM MEDIAN", 0.2, 2.0, "arcsec"),
    (r"QC \w+ LAMBDA", 4000.0, 10000.0, "Angstrom"),
    (rf"QC BASIC OVSC{_NUMBER} MEAN", 500.0, 2000.0, "adu"),
    (rf"QC BASIC OVSC{_NUMBER} STDEV", 0.5, 10.0, "adu"),
    (r"QC BASIC LAMBDA SHIFT", -0.3, 0.3, "Angstrom"),
    (rf"QC \w+ SKYLINE{_NUMBER} OFFSET", -0.3, 0.3, "Angstrom"),
    (rf"QC EXPALIGN EXP{_NUMBER} NMATCH", 1, 1e6, ""),
    (r"QC EXPALIGN NDET", 1, 1e6, ""),
)
"""Keyword (a regular expression), lowest and highest usual value, unit; -1 means "not measured"."""


def usual_range(key: str, value: object) -> tuple[str, bool]:
    """Return the usual range of a QC keyword as text, and whether a value lies outside.

    >>> usual_range("QC SCIPOST FWHM MEDIAN", 3.1)
    ('0.2 to 2 arcsec', True)
    >>> usual_range("QC SCIPOST NDET", 5)
    ('', False)
    """
    name = key.partition(" (")[0]
    for pattern, low, high, unit in USUAL:
        if re.fullmatch(pattern, name):
            text = f"{low:g} to {high:g} {unit}".rstrip()
            number = isinstance(value, int | float) and not isinstance(value, bool)
            measured = number and value != -1
            return text, bool(measured and not low <= float(value) <= high)  # type: ignore[arg-type]
    return "", False
