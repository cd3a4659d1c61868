# SPDX-License-Identifier: BSD-3-Clause
"""Units as people write them."""

from __future__ import annotations

from muse_core.framework.unit_spelling import factors


def unit_label(unit: str) -> str:
    """Return a unit as people write it.

    >>> unit_label("10**(-20)*erg/(s*cm**2*Angstrom)"), unit_label("count"), unit_label("")
    ('10⁻²⁰ erg s⁻¹ cm⁻² Å⁻¹', 'count', 'no unit')
    """
    powers = factors(unit)
    if not unit or powers is None:
        return unit or "no unit"
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    parts = [
        name.replace("Angstrom", "Å") + ("" if power == 1 else str(power).translate(digits))
        for name, power in powers.items()
    ]
    return " ".join(parts)
