# SPDX-License-Identifier: BSD-3-Clause
"""Rules of places: where slices, rows, stars and pixels can lie."""

from __future__ import annotations

import math

import numpy as np

from muse_core.data.rules import PLACES, Rule, Values

SHORTEST, LONGEST = 3000.0, 11000.0
"""Wavelengths [Angstrom] beyond which no data of MUSE and no calibration for them lie."""
SEVERAL_SLICES = 4
SMALLEST_FIELD = {"pix": 0.5, "rad": 1e-8, "deg": 1e-6}
"""Extent of the rows of several slices at least, by the unit of the positions."""
WIDEST_FIELD = {"pix": 1000.0, "rad": 0.02, "deg": 1.0}
FIELD_OF_SLICES = 200.0
"""Pixels from the centre of the field, beyond any of its slices."""
HIGHEST_SLICE = 3.0
IFU_PITCH, IFU_MARGIN, WIDEST_IFU = 12.35, 30.0, 400.0
"""Pixels from one IFU to the next in y, for edges and refraction, and of an IFU in x with the same."""
LARGEST_FIELD = 0.5
"""Degrees from the position of a field to its stars."""
SLICES, SLICES_APART = 48, 0.5
"""Slices of an IFU; pixels between two of them at least."""


def pixel_size(low: float, high: float, *, is_error: bool = True) -> Rule:
    """Pixels of a CD matrix in arcsec (of an image of the sky): its determinant, whatever the rotation."""

    def contradiction(values: Values) -> str | None:
        if values.get("CD1_1") is None or not str(values.get("CTYPE1", "RA")).startswith("RA"):
            return None
        cd = [values.get(f"CD{i}_{j}", 0.0) for i in (1, 2) for j in (1, 2)]
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in cd):
            return f"{cd}"
        size = math.sqrt(abs(cd[0] * cd[3] - cd[1] * cd[2])) * 3600.0
        return None if low <= size <= high else f"{size:.3g} arcsec"

    return Rule("keywords CDi_j", f"pixels of {low:g} to {high:g} arcsec", contradiction, is_error)


def square_pixels() -> Rule:
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


def slices_apart() -> Rule:
    """Slices of an IFU in places of their own: none lies on another one."""

    def contradiction(values: Values) -> str | None:
        columns = [values.get(name) for name in ("SubField", "x", "y", "width")]
        if any(column is None for column in columns):
            return None
        ifu, x, y, width = (np.asarray(column, np.float64) for column in columns)
        for number in np.unique(ifu):
            own = ifu == number
            apart = np.hypot(*(np.subtract.outer(place[own], place[own]) for place in (x, y)))
            np.fill_diagonal(apart, np.inf)
            if own.sum() > 1 and apart.min() < SLICES_APART:
                return f"two slices of IFU {number:.0f} {apart.min():.2g} pixels apart"
            if own.sum() == SLICES and np.ptp(x[own]) < np.median(width[own]):
                return f"all slices of IFU {number:.0f} within {np.ptp(x[own]):.2g} pixels in x"
        return None

    demand = f"slices of an IFU {SLICES_APART:g} pixels apart, in more than one stack"
    return Rule("columns x, y", demand, contradiction, is_error=False)


def traces_apart() -> Rule:
    """Slices of an IFU in places of their own on the detector."""

    def contradiction(values: Values) -> str | None:
        places = np.sort(np.asarray(values.get("PLACES", ()), np.float64))
        steps = np.diff(places[np.isfinite(places)])
        return (
            f"two of them {steps.min():.2g} pixels apart"
            if steps.size and steps.min() < SLICES_APART
            else None
        )

    demand = f"traces of the slices {SLICES_APART:g} pixels apart"
    return Rule("columns tcn_00", demand, contradiction, is_error=False)


def around_the_field() -> Rule:
    """Stars where the header of their table says that they are."""

    def contradiction(values: Values) -> str | None:
        away = values.get("AWAY")
        if not isinstance(away, int | float) or away <= LARGEST_FIELD:
            return None
        return f"a median of {away:.3g} deg"

    demand = f"stars within {LARGEST_FIELD:g} deg of the keywords RA, DEC"
    return Rule("columns RA, DEC", demand, contradiction, is_error=False)


def positions_apart() -> Rule:
    """Rows of several slices in more than one place."""

    def contradiction(values: Values) -> str | None:
        width, height, slices, unit = (values.get(key) for key in ("WIDTH", "HEIGHT", "SLICES", "UNIT"))
        if slices is None or slices < SEVERAL_SLICES:
            return None
        least = SMALLEST_FIELD.get(unit, SMALLEST_FIELD["pix"])
        return None if min(width, height) > least else f"{width:.2g} x {height:.2g} {unit}"

    demand = "positions of several slices in more than one place in both directions"
    return Rule("columns xpos, ypos", demand, contradiction, is_error=False, about=PLACES)


def within_a_field() -> Rule:
    """Rows no farther from each other than a field is wide (or a mosaic, for those on the sky)."""

    def contradiction(values: Values) -> str | None:
        width, height, unit = (values.get(key) for key in ("WIDTH", "HEIGHT", "UNIT"))
        if width is None or max(width, height) <= WIDEST_FIELD.get(unit, WIDEST_FIELD["pix"]):
            return None
        return f"{width:.3g} x {height:.3g} {unit}"

    far, on_sky = WIDEST_FIELD["pix"], WIDEST_FIELD["deg"]
    demand = f"positions within {far:g} pix of each other, {on_sky:g} deg on the sky"
    return Rule("columns xpos, ypos", demand, contradiction, is_error=False, about=PLACES)


def slices_of_the_field() -> Rule:
    """Rows from as many slices as their field is high: a slice is one pixel of the field high."""

    def contradiction(values: Values) -> str | None:
        height, slices, unit = (values.get(key) for key in ("HEIGHT", "SLICES", "UNIT"))
        if slices != 1 or unit != "pix" or height <= HIGHEST_SLICE:
            return None
        return f"one slice in all rows, over {height:.3g} pix"

    demand = f"more than one slice where the rows are more than {HIGHEST_SLICE:g} pix apart in ypos"
    return Rule("column origin", demand, contradiction, is_error=False, about=PLACES)


def ifus_of_the_field(times: float = 1.0, *, is_error: bool = False) -> Rule:
    """Rows of IFUs no farther apart than so many times what these are: each has its part of the field."""
    widest, pitch, margin = times * WIDEST_IFU, times * IFU_PITCH, times * IFU_MARGIN

    def contradiction(values: Values) -> str | None:
        width, height, ifus, unit = (values.get(key) for key in ("WIDTH", "HEIGHT", "IFUS", "UNIT"))
        if ifus is None or unit != "pix":
            return None
        if width <= widest and height <= pitch * ifus + margin:
            return None
        return f"{width:.3g} x {height:.3g} pix of {ifus} IFU{'s' if ifus > 1 else ''} side by side"

    demand = f"at most {widest:g} pix in xpos, {pitch:g} pix for each IFU and {margin:g} in ypos"
    return Rule("columns xpos, ypos", demand, contradiction, is_error=is_error, about=PLACES)


def covers_field() -> Rule:
    """A cube on the slices and in the range of the instrument: rows beside it take its nearest pixel."""

    def contradiction(values: Values) -> str | None:
        first, last = values.get("FIRST"), values.get("LAST")
        if first is None or last is None:
            return None
        reach = [(min(a, b), max(a, b)) for a, b in zip(first, last, strict=True)]
        inside = all(low < FIELD_OF_SLICES and high > -FIELD_OF_SLICES for low, high in reach[:2])
        if inside and reach[2][0] < LONGEST and reach[2][1] > SHORTEST:
            return None
        x, y, lam = (f"{low:.5g} to {high:.5g}" for low, high in reach)
        return f"x = {x}, y = {y} pix, {lam} Angstrom"

    demand = f"pixels of the field (within {FIELD_OF_SLICES:g} of its centre), wavelengths of MUSE"
    return Rule("keywords CRVALi, CRPIXi", demand, contradiction, is_error=False)
