# SPDX-License-Identifier: BSD-3-Clause
"""Rules of wavelengths, line profiles and spectra."""

from __future__ import annotations

import math

import numpy as np

from muse_core.data.place_rules import LONGEST, SHORTEST
from muse_core.data.rules import PIXELS, Rule, Values

FAINTEST_SKY = 1e-6
"""Flux of the brightest row at least, in counts or 1e-20 erg/(s cm^2 Angstrom); a dark sky has some."""
FAR_FROM_1 = 1000.0
"""Factor by which the area of line profiles may differ from 1: they are not all made by one program."""
LEAST_INSIDE = 0.7
"""Share of the area of a line profile in the inner half of its window: 0.99 of real ones, 0.5 of no line."""
LAMP_LINES = (5460.74, 5852.49, 6402.25, 7032.41, 8231.63, 8280.12, 8819.41)
"""Angstrom (air) of bright lines of mercury, neon and xenon."""


def in_range_of_muse(name: str) -> Rule:
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


def mostly_of_muse(name: str, share: float) -> Rule:
    """Wavelengths of pixels, nearly all of them those of the instrument: others are left out (a warning)."""

    def contradiction(values: Values) -> str | None:
        lam = np.asarray(values.get(name, ()), np.float64)
        known = lam[np.isfinite(lam)]
        inside = float(np.mean((known >= SHORTEST) & (known <= LONGEST))) if known.size else 1.0
        return None if inside >= share else f"{100 * inside:.3g} per cent"

    demand = f"at least {100 * share:g} per cent of the pixels between {SHORTEST:g} and {LONGEST:g} Angstrom"
    return Rule(f"extension {name}", demand, contradiction, is_error=False, about=PIXELS)


def spans_muse(name: str) -> Rule:
    """A curve that reaches into the range of the instrument: it may have few nodes, none of them inside."""

    def contradiction(values: Values) -> str | None:
        lam = values.get(name)
        if lam is None or not len(lam) or (min(lam) <= LONGEST and max(lam) >= SHORTEST):
            return None
        return f"{min(lam):g} to {max(lam):g}"

    demand = f"wavelengths in Angstrom that reach into {SHORTEST:g} to {LONGEST:g}"
    return Rule(f"column {name}", demand, contradiction)


def shines(name: str) -> Rule:
    """Fluxes some of which are above 0."""

    def contradiction(values: Values) -> str | None:
        fluxes = np.asarray(values.get(name, ()), np.float64)
        return "none" if fluxes.size and not (fluxes > 0).any() else None

    return Rule(f"column {name}", "a flux above 0 in some row", contradiction, is_error=False)


def lines_of_lamps(name: str) -> Rule:
    """Wavelengths with the brightest lines of the lamps: a shifted list is matched all the same."""

    def contradiction(values: Values) -> str | None:
        lam = np.asarray(values.get(name, ()), np.float64)
        lam = lam[np.isfinite(lam)]
        known = np.array([line for line in LAMP_LINES if lam.size and lam.min() <= line <= lam.max()])
        there = np.abs(known[:, np.newaxis] - lam).min(axis=1, initial=np.inf) < 1.0
        if known.size < 3 or 2 * np.count_nonzero(there) >= known.size:
            return None
        return f"{np.count_nonzero(there)} of {known.size} (a list for vacuum, or a shifted one?)"

    demand = f"half of the lines {', '.join(f'{line:g}' for line in LAMP_LINES)} Angstrom (in air) within 1"
    return Rule(f"column {name}", demand, contradiction, is_error=False)


def bands_in_order() -> Rule:
    """Bands of absorption with some sky on both sides."""

    def contradiction(values: Values) -> str | None:
        bands = [values.get(name) for name in ("bgmin", "lmin", "lmax", "bgmax")]
        if any(band is None for band in bands) or len({len(band) for band in bands}) > 1:
            return None
        low, first, last, high = (np.asarray(band, np.float64) for band in bands)
        wrong = np.flatnonzero(~((low <= first) & (first < last) & (last <= high)))
        return f"others in row {', '.join(str(row + 1) for row in wrong[:5])}" if wrong.size else None

    return Rule("columns", "bgmin <= lmin < lmax <= bgmax in each row", contradiction, is_error=False)


def profile_with_area() -> Rule:
    """Images of line profiles: more light than holes, of an area near 1 (muse_lsf makes it 1)."""

    def contradiction(values: Values) -> str | None:
        if values.get("AREA") is None:
            return None
        area = np.asarray(values.get("AREA")) * float(values.get("CD1_1") or 1.0)
        wrong = int(np.count_nonzero(~(area > 0.0)))
        if wrong:
            return f"{wrong} of {area.size} profiles without"
        middle = float(np.median(area))
        return None if 1 / FAR_FROM_1 < middle < FAR_FROM_1 else f"a median of {middle:.3g}"

    demand = f"profiles with an area above 0, about 1 (within a factor of {FAR_FROM_1:g})"
    return Rule("pixels", demand, contradiction, is_error=False)


def profile_is_a_line() -> Rule:
    """Images of line profiles that are high in the middle: most light in the inner half of the window."""

    def contradiction(values: Values) -> str | None:
        if values.get("INNER") is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.asarray(values.get("INNER")) / np.asarray(values.get("AREA"))
        known = share[np.isfinite(share)]
        middle = float(np.median(known)) if known.size else math.nan
        return None if not middle < LEAST_INSIDE else f"a median of {middle:.2f}"

    demand = f"profiles with {LEAST_INSIDE:g} or more of their area in the inner half of the window"
    return Rule("pixels", demand, contradiction, is_error=False)


def not_faint(name: str) -> Rule:
    """Fluxes in the unit of the data, not in erg/(s cm^2 Angstrom), of which nothing would be left."""

    def contradiction(values: Values) -> str | None:
        fluxes = np.abs(np.asarray(values.get(name, ()), np.float64))
        known = fluxes[np.isfinite(fluxes)]
        return None if not known.size or known.max() >= FAINTEST_SKY else f"{known.max():.3g} at most"

    demand = f"a flux of {FAINTEST_SKY:g} or more in some row"
    return Rule(f"column {name}", demand, contradiction, is_error=False)


def reaches_both_sides(least: float) -> Rule:
    """Images of line profiles with the line inside, not half of it."""

    def contradiction(values: Values) -> str | None:
        reach = values.get("REACH")
        if reach is None or min(-reach[0], reach[1]) >= least:
            return None
        return f"{reach[0]:.3g} to {reach[1]:.3g} Angstrom"

    demand = f"offsets from the line that reach {least:g} Angstrom on both sides"
    return Rule("axis 1", demand, contradiction, is_error=False)


def each_ifu_once() -> Rule:
    """Line profiles of which none is left out because there is another one of its slice."""

    def contradiction(values: Values) -> str | None:
        again = values.get("REPEATED")
        return f"IFU {', '.join(map(str, again))} again: what comes first is used" if again else None

    return Rule("files", "the profiles of each IFU once", contradiction, is_error=False)
