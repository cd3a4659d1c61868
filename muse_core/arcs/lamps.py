# SPDX-License-Identifier: BSD-3-Clause
"""Which arc lamps were on in an exposure, and which ions they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

NAMES = {"CU-LAMP3": "Ne", "CU-LAMP6": "Ne", "CU-LAMP4": "Xe", "CU-LAMP5": "HgCd"}
PREFIX = "CU-LAMP-"
OF_ION = {"NeI": "Ne", "XeI": "Xe", "HgI": "HgCd", "CdI": "HgCd"}
MOST_LAMPS = 64
T = TypeVar("T")


@dataclass(frozen=True)
class Lamps:
    """The lamps that were on, in the order of their numbers.

    Attributes
    ----------
    numbers : tuple of int
        i of ``ESO INS LAMPi``.
    names : tuple of str
        Ne, Xe, HgCd, or what the header calls them.
    """

    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.numbers)

    def __str__(self) -> str:
        return " + ".join(self.names) or "no lamp"

    def show(self, ion: str) -> bool:
        """Tell whether lines of an ion can be seen.

        >>> Lamps((5,), ("HgCd",)).show("CdI")
        True
        """
        return lamp_of(ion) in self.names


def lamp_of(ion: str) -> str:
    """Name of the lamp that shows an ion; "" for an ion of no known lamp.

    >>> lamp_of("HgI"), lamp_of("ArI")
    ('HgCd', '')
    """
    return OF_ION.get(ion.strip(), "")


def lamp_name(text: str) -> str:
    """Short name of a lamp (measured against 2.8.7).

    >>> lamp_name("CU-LAMP4"), lamp_name("CU-LAMP-HgCd"), lamp_name("CU-LAMP1")
    ('Xe', 'HgCd', 'CU-LAMP1')
    """
    return NAMES.get(text, text.removeprefix(PREFIX))


def lamps_of(header: Mapping[str, Any]) -> Lamps:
    """Return the lamps that were on: lamp and shutter of the same number both open.

    Parameters
    ----------
    header : mapping
        Primary header with ``ESO INS LAMPNUM``, ``LAMPi ST``, ``LAMPi NAME``, ``SHUTi ST``.
    """
    count = header.get("ESO INS LAMPNUM", 0)
    if isinstance(count, bool) or not isinstance(count, int):
        return Lamps()
    numbers = [
        i
        for i in range(1, min(count, MOST_LAMPS) + 1)
        if header.get(f"ESO INS LAMP{i} ST") is True and header.get(f"ESO INS SHUT{i} ST") is True
    ]
    names = tuple(lamp_name(str(header.get(f"ESO INS LAMP{i} NAME", f"CU-LAMP{i}"))) for i in numbers)
    return Lamps(tuple(numbers), names)


def by_lamps(items: Sequence[tuple[T, Lamps]]) -> list[tuple[Lamps, list[T]]]:
    """Group things by their lamps, in the order of first appearance.

    >>> neon, xenon = Lamps((3,), ("Ne",)), Lamps((4,), ("Xe",))
    >>> by_lamps([("a", neon), ("b", xenon), ("c", neon)])[0][1]
    ['a', 'c']
    """
    groups: dict[Lamps, list[T]] = {}
    for item, lamps in items:
        groups.setdefault(lamps, []).append(item)
    return list(groups.items())
