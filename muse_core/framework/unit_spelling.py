# SPDX-License-Identifier: BSD-3-Clause
"""Spelling of physical units: that of the C recipes, and one that readers of FITS files understand.

The C recipes write ``10**(-20)*erg/s/cm**2/Angstrom`` and ``(10**(-20)*erg/s/cm**2/Angstrom)**2``. The FITS
standard (4.0, section 4.3) has one solidus in a unit and no power of a bracket; `astropy.units.Unit` warns of
the first and refuses the second. Products are spelled anew when they are complete (`respell_file`); whoever
compares units of inputs takes both spellings for one (`same_unit`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from muse_core.framework import fits_layout

FLUX_UNIT = "10**(-20)*erg/s/cm**2/Angstrom"
"""The unit of calibrated data, as the C recipes spell it."""

_POWER_OF_BRACKET = re.compile(r"\((.*)\)(?:\*\*|\^)2")
_FACTOR = re.compile(
    r"(?P<ten>10)(?:\*\*|\^)(\((?P<ten_in>-?\d+)\)|(?P<ten_bare>-?\d+))"
    r"|(?P<name>[A-Za-z]+)(?:(?:\*\*|\^)?(?:\((?P<in>-?\d+)\)|(?P<bare>-?\d+)))?"
)
_SEPARATOR = re.compile(r" */ *\(| */ *| *[*. ] *")
_UNIT_CARD = re.compile(r"(BUNIT   |TUNIT\d{1,3} *)= '")
_TEN = "10"


def factors(unit: str) -> dict[str, int] | None:
    """Return the powers of the names in a product of units, and of "10"; None if the text is anything else.

    >>> factors("(10**(-20)*erg/s)**2")
    {'10': -40, 'erg': 2, 's': -2}
    """
    text = unit.strip()
    if bracket := _POWER_OF_BRACKET.fullmatch(text):
        inside = factors(bracket[1])
        return inside and {name: 2 * power for name, power in inside.items()}
    found: dict[str, int] = {}
    sign, closing, position = 1, False, 0
    while True:
        match = _FACTOR.match(text, position)
        if match is None:
            return None
        name = match["ten"] or match["name"].replace("angstrom", "Angstrom")
        power = match["ten_in"] or match["ten_bare"] or match["in"] or match["bare"] or "1"
        found[name] = found.get(name, 0) + sign * int(power)
        position = match.end()
        if closing and text[position:] == ")":
            return found
        if position == len(text):
            return None if closing else found
        separator = _SEPARATOR.match(text, position)
        if separator is None and match["ten"]:
            continue  # 10**(-20)erg
        if separator is None or (closing and "/" in separator[0]):
            return None
        position = separator.end()
        closing = closing or "(" in separator[0]
        sign = -1 if "/" in separator[0] or closing else 1


@lru_cache(maxsize=256)
def readable(unit: str) -> str:
    """Return a unit with one solidus and without powers of brackets; other texts stay as they are.

    >>> readable("(10**(-20)*erg/s/cm**2/Angstrom)**2")
    '10**(-40)*erg**2/(s**2*cm**4*Angstrom**2)'
    """
    if unit.count("/") < 2 and not _POWER_OF_BRACKET.fullmatch(unit.strip()):
        return unit
    found = factors(unit)
    if found is None:
        return unit
    above = [_power(name, power) for name, power in found.items() if power > 0 or name == _TEN]
    below = [_power(name, -power) for name, power in found.items() if power < 0 and name != _TEN]
    if not above or not below:
        return "*".join(above) or unit
    return "*".join(above) + ("/" + below[0] if len(below) == 1 else f"/({'*'.join(below)})")


def _power(name: str, power: int) -> str:
    if name == _TEN:
        return f"10**({power})"
    return name if power == 1 else f"{name}**{power}"


@lru_cache(maxsize=256)
def c_spelling(unit: str) -> str:
    """Return a unit of calibrated data, or of their variance, as the C recipes spell it; others as they are.

    >>> c_spelling("10**-20 Angstrom-1 cm-2 erg s-1")
    '10**(-20)*erg/s/cm**2/Angstrom'
    """
    found = factors(unit)
    if found is not None:
        for known in (FLUX_UNIT, f"({FLUX_UNIT})**2"):
            if found == factors(known):
                return known
    return unit


def same_unit(one: str, other: str) -> bool:
    """Whether two texts are the same unit, in any spelling of calibrated data."""
    return c_spelling(one) == c_spelling(other)


def respell_file(path: Path) -> None:
    """Spell the units in the headers of a finished file (``BUNIT``, ``TUNITn``) so that they can be read.

    Cards are replaced where they stand, no byte of the data moves; checksums are the caller's to fill.
    """
    with path.open("r+b") as stream:
        for unit in fits_layout.units(path):
            for place in range(0, len(unit.header), fits_layout.CARD):
                card = unit.header[place : place + fits_layout.CARD]
                start = _UNIT_CARD.match(card)
                if start is None:
                    continue
                value = str(fits_layout.card_value(card, start[1].strip()))
                if readable(value) != value:
                    stream.seek(unit.start + place)
                    stream.write(_card(card, start[1], value).encode("ascii"))


def _card(card: str, keyword: str, value: str) -> str:
    _, _, comment = card[card.index("'") + 1 :].partition("' ")
    spelled = f"{keyword}= '{readable(value):8}'"
    with_comment = f"{spelled} {comment.strip()}".rstrip()
    return (with_comment if len(with_comment) <= fits_layout.CARD else spelled).ljust(fits_layout.CARD)
