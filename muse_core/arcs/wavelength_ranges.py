# SPDX-License-Identifier: BSD-3-Clause
"""Wavelengths whose lines take part in solutions and profiles, by instrument mode."""

from __future__ import annotations

from muse_core.detector.pixels import NOTCH, crop_range

NFM_BLUE = 4700.0  # measured against 2.8.7; pixel tables of the narrow field begin at 4750


def line_ranges(mode: str) -> tuple[tuple[float, float], ...]:
    """Ranges (Angstrom) in which lines are used: those of the mode without the gap of the lasers.

    Measured against 2.8.7: no gap in the narrow field.

    >>> line_ranges("WFM-AO-N")
    ((4700.0, 5805.0), (5966.0, 9350.0))
    >>> line_ranges("NFM-AO-N")
    ((4700.0, 9350.0),)
    """
    low, high = crop_range(mode)
    if mode.startswith("NFM"):
        return ((NFM_BLUE, high),)
    if mode in NOTCH:
        first, last = NOTCH[mode]
        return (low, first), (last, high)
    return ((low, high),)
