# SPDX-License-Identifier: BSD-3-Clause
"""What the inputs of the recipes must say: all rules of an input at once.

Limits are those of nature and of the instrument, drawn wide: what lies beyond them is a mistake (another
unit, a broken header), not an unusual exposure.
"""

from __future__ import annotations

import math
from dataclasses import replace

from muse_core.data.rules import Rule, Values, column, keyword

SHORTEST, LONGEST = 3000.0, 11000.0
"""Wavelengths [Angstrom] beyond which no data of MUSE and no calibration for them lie."""


def _pixel_size(low: float, high: float) -> Rule:
    """Pixels of a CD matrix in arcsec: its determinant, whatever the rotation."""

    def contradiction(values: Values) -> str | None:
        if values.get("CD1_1") is None:
            return None
        cd = [values.get(f"CD{i}_{j}", 0.0) for i in (1, 2) for j in (1, 2)]
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in cd):
            return f"{cd}"
        size = math.sqrt(abs(cd[0] * cd[3] - cd[1] * cd[2])) * 3600.0
        return None if low <= size <= high else f"{size:.3g} arcsec"

    return Rule("keywords CDi_j", f"pixels of {low:g} to {high:g} arcsec", contradiction)


def _square_pixels() -> Rule:
    """Axes of about the same scale, about at right angles: otherwise the matrix is nearly degenerate."""

    def contradiction(values: Values) -> str | None:
        cd = [values.get(f"CD{i}_{j}", 0.0) for i in (1, 2) for j in (1, 2)]
        if values.get("CD1_1") is None or not all(isinstance(value, int | float) for value in cd):
            return None  # told by the other rule
        first, second = math.hypot(cd[0], cd[2]), math.hypot(cd[1], cd[3])
        area = abs(cd[0] * cd[3] - cd[1] * cd[2])
        if min(first, second) > 0.5 * max(first, second) and area > 0.5 * first * second:
            return None
        return "[" + ", ".join(f"{value:g}" for value in cd) + "] deg"

    return Rule("keywords CDi_j", "axes of the same scale at right angles", contradiction)


def _in_range_of_muse(name: str) -> Rule:
    """Wavelengths some of which at least are those of the instrument; nanometres or pixels are not."""

    def contradiction(values: Values) -> str | None:
        lam = values.get(name)
        if lam is None or not len(lam):
            return None
        if any(SHORTEST <= value <= LONGEST for value in lam):
            return None
        return f"{min(lam):g} to {max(lam):g}"

    demand = f"wavelengths in Angstrom, between {SHORTEST:g} and {LONGEST:g}"
    return Rule(f"column {name}", demand, contradiction)


def _spans_muse(name: str) -> Rule:
    """A curve that reaches into the range of the instrument: it may have few nodes, none of them inside."""

    def contradiction(values: Values) -> str | None:
        lam = values.get(name)
        if lam is None or not len(lam) or (min(lam) <= LONGEST and max(lam) >= SHORTEST):
            return None
        return f"{min(lam):g} to {max(lam):g}"

    demand = f"wavelengths in Angstrom that reach into {SHORTEST:g} to {LONGEST:g}"
    return Rule(f"column {name}", demand, contradiction)


def _measured(name: str, otherwise: str) -> Rule:
    """A column that has a number in each row, if it has any."""

    def contradiction(values: Values) -> str | None:
        numbers = values.get(name)
        missing = [] if numbers is None else [n for n, value in enumerate(numbers, 1) if value != value]
        if not missing or len(missing) == len(numbers):
            return None
        return f"none in row {', '.join(map(str, missing[:5]))}: {otherwise}"

    return Rule(f"column {name}", "a number in each row", contradiction, is_error=False)


MJD = keyword("MJD-OBS", "d", low=50000.0, high=100000.0)
"""Between 1995 and 2132."""
EXPTIME = keyword("EXPTIME", "s", above=0.0, high=1e5)

PIXEL_TABLE = (
    EXPTIME,
    MJD,
    keyword("RA", "deg", low=-360.0, high=720.0),
    keyword("DEC", "deg", low=-90.0, high=90.0),
    keyword("EQUINOX", low=1800.0, high=2200.0),
    keyword("LST", "s", low=-86400.0, high=172800.0),
    keyword("ESO INS DROT POSANG", "deg", low=-720.0, high=720.0),
    keyword("ESO TEL PARANG START", "deg", low=-360.0, high=360.0),
    keyword("ESO TEL PARANG END", "deg", low=-360.0, high=360.0),
    keyword("ESO TEL GEOLON", "deg", low=-360.0, high=360.0),
    keyword("ESO TEL GEOLAT", "deg", low=-90.0, high=90.0),
    keyword("ESO TEL GEOELEV", "m", low=-500.0, high=9000.0),
    keyword("ESO TEL AIRM START", low=0.9, high=40.0, is_error=False),
    keyword("ESO TEL AIRM END", low=0.9, high=40.0, is_error=False),
    keyword("ESO TEL AMBI PRES START", "mbar", low=400.0, high=1100.0, is_error=False),
    keyword("ESO TEL AMBI PRES END", "mbar", low=400.0, high=1100.0, is_error=False),
    keyword("ESO TEL AMBI TEMP", "C", low=-60.0, high=60.0, is_error=False),
    keyword("ESO TEL AMBI RHUM", "%", low=0.0, high=100.0, is_error=False),
    keyword("ESO DRS MUSE FLAT FLUX SKY", above=0.0),
    keyword("ESO DRS MUSE FLAT FLUX LAMP", above=0.0),
)
RAW_FRAME = tuple(
    replace(rule, is_error=False) for rule in PIXEL_TABLE if not rule.item.startswith("keyword ESO DRS")
)
"""Warnings: what comes of them is refused where it is used."""
FIELD_IMAGE = (MJD, keyword("EXPTIME", "s", high=1e7, is_error=False))
RESPONSE = (
    _spans_muse("lambda"),
    column("response", "mag", above=0.0),
    column("response", "mag", low=10.0, high=70.0, is_error=False),
    column("resperr", "mag", low=0.0),
)
EXTINCTION = (
    _spans_muse("lambda"),
    column("extinction", "mag", low=0.0),
    column("extinction", "mag", high=10.0, is_error=False),
)
TELLURIC = (
    _spans_muse("lambda"),
    column("ftelluric", low=-0.1, high=2.0),
    column("ftelluric", low=0.0, high=1.2, is_error=False),
    column("ftellerr", low=0.0),
)
ASTROMETRY = (_pixel_size(0.005, 1.0), _square_pixels())
OFFSETS = (
    column("RA_OFFSET", "deg", low=-10.0, high=10.0),
    column("DEC_OFFSET", "deg", low=-10.0, high=10.0),
    column("ROT_OFFSET", "deg", low=-360.0, high=360.0),
    column("FLUX_SCALE", above=0.0, high=1e6),
    column("FLUX_SCALE", low=0.01, high=100.0, is_error=False),
    _measured("FLUX_SCALE", "1 is used"),
)
SKY_LINES = (_in_range_of_muse("lambda"), column("flux", low=0.0, is_error=False))
SKY_CONTINUUM = (_spans_muse("lambda"),)
RAMAN_LINES = (_in_range_of_muse("lambda"), column("flux", low=0.0))
FILTER = (_spans_muse("lambda"), column("throughput", low=0.0))
AUTOCAL = (column("corr", above=0.0, high=100.0), column("npts", low=0.0))

INPUT_RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("OBJECT", "STD", "SKY", "ASTROMETRY", "SKYFLAT"), RAW_FRAME),
    "PIXTABLE_OBJECT": PIXEL_TABLE,
    "PIXTABLE_REDUCED": PIXEL_TABLE,
    "PIXTABLE_SKY": PIXEL_TABLE,
    "IMAGE_FOV": FIELD_IMAGE,
    "STD_RESPONSE": RESPONSE,
    "EXTINCT_TABLE": EXTINCTION,
    "STD_TELLURIC": TELLURIC,
    "ASTROMETRY_WCS": ASTROMETRY,
    "OFFSET_LIST": OFFSETS,
    "FILTER_LIST": FILTER,
    "SKY_LINES": SKY_LINES,
    "SKY_CONTINUUM": SKY_CONTINUUM,
    "RAMAN_LINES": RAMAN_LINES,
    "AUTOCAL_FACTORS": AUTOCAL,
}
"""Rules of each input, by its tag."""
