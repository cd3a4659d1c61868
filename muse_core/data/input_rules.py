# SPDX-License-Identifier: BSD-3-Clause
"""What the inputs of the recipes must say: all rules of an input at once.

Limits are those of nature and of the instrument, drawn wide: what lies beyond them is a mistake (another
unit, a broken header), not an unusual exposure.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from muse_core.data.rules import (
    NOT_RESAMPLED,
    PLACES,
    Rule,
    Values,
    column,
    keyword,
    known_flags,
    level,
    like_others,
    measured,
    no_peak,
    not_negative,
    not_saturated,
    present,
    scatter_fits_noise,
    spread,
    unflagged,
    variances,
)

SHORTEST, LONGEST = 3000.0, 11000.0
"""Wavelengths [Angstrom] beyond which no data of MUSE and no calibration for them lie."""
WIDEST_PROFILE = 100.0
"""Angstrom of a slit or a bin, far beyond any of MUSE."""
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
FAINTEST_SKY = 1e-6
"""Flux of the brightest row at least, in counts or 1e-20 erg/(s cm^2 Angstrom); a dark sky has some."""
WIDEST_DETECTOR = 4240.0
"""Pixels of a raw detector with its overscans."""
FAR_FROM_1 = 1000.0
"""Factor by which the area of line profiles may differ from 1: they are not all made by one program."""
LEAST_INSIDE = 0.7
"""Share of the area of a line profile in the inner half of its window: 0.99 of real ones, 0.5 of no line."""
LAMP_LINES = (5460.74, 5852.49, 6402.25, 7032.41, 8231.63, 8280.12, 8819.41)
"""Angstrom (air) of bright lines of mercury, neon and xenon."""
SLICES, SLICES_APART = 48, 0.5
"""Slices of an IFU; pixels between two of them at least."""


def _pixel_size(low: float, high: float, *, is_error: bool = True) -> Rule:
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


def _slices_apart() -> Rule:
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


def _traces_apart() -> Rule:
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


def _shines(name: str) -> Rule:
    """Fluxes some of which are above 0."""

    def contradiction(values: Values) -> str | None:
        fluxes = np.asarray(values.get(name, ()), np.float64)
        return "none" if fluxes.size and not (fluxes > 0).any() else None

    return Rule(f"column {name}", "a flux above 0 in some row", contradiction, is_error=False)


def _lines_of_lamps(name: str) -> Rule:
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


def _around_the_field() -> Rule:
    """Stars where the header of their table says that they are."""

    def contradiction(values: Values) -> str | None:
        away = values.get("AWAY")
        if not isinstance(away, int | float) or away <= LARGEST_FIELD:
            return None
        return f"a median of {away:.3g} deg"

    demand = f"stars within {LARGEST_FIELD:g} deg of the keywords RA, DEC"
    return Rule("columns RA, DEC", demand, contradiction, is_error=False)


def _in_places(name: str) -> Rule:
    """Positions that are not all the same."""

    def contradiction(values: Values) -> str | None:
        given = np.asarray(values.get(name, ()), np.float64)
        known = given[np.isfinite(given)]
        return f"{known[0]:.6g} in all {known.size} rows" if known.size > 1 and not np.ptp(known) else None

    return Rule(f"column {name}", "more than one value", contradiction, is_error=False)


def _bands_in_order() -> Rule:
    """Bands of absorption with some sky on both sides."""

    def contradiction(values: Values) -> str | None:
        bands = [values.get(name) for name in ("bgmin", "lmin", "lmax", "bgmax")]
        if any(band is None for band in bands) or len({len(band) for band in bands}) > 1:
            return None
        low, first, last, high = (np.asarray(band, np.float64) for band in bands)
        wrong = np.flatnonzero(~((low <= first) & (first < last) & (last <= high)))
        return f"others in row {', '.join(str(row + 1) for row in wrong[:5])}" if wrong.size else None

    return Rule("columns", "bgmin <= lmin < lmax <= bgmax in each row", contradiction, is_error=False)


def _marks_some_sky() -> Rule:
    """A mask with pixels of both kinds: else it is an image of something else."""

    def contradiction(values: Values) -> str | None:
        share = values.get("SKY")
        return None if share is None or 0.0 < share < 1.0 else f"{100 * share:g} per cent"

    return Rule("pixels", "some that are sky, and some that are not", contradiction, is_error=False)


def _profile_with_area() -> Rule:
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


def _profile_is_a_line() -> Rule:
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


def _not_faint(name: str) -> Rule:
    """Fluxes in the unit of the data, not in erg/(s cm^2 Angstrom), of which nothing would be left."""

    def contradiction(values: Values) -> str | None:
        fluxes = np.abs(np.asarray(values.get(name, ()), np.float64))
        known = fluxes[np.isfinite(fluxes)]
        return None if not known.size or known.max() >= FAINTEST_SKY else f"{known.max():.3g} at most"

    demand = f"a flux of {FAINTEST_SKY:g} or more in some row"
    return Rule(f"column {name}", demand, contradiction, is_error=False)


def _reaches_both_sides(least: float) -> Rule:
    """Images of line profiles with the line inside, not half of it."""

    def contradiction(values: Values) -> str | None:
        reach = values.get("REACH")
        if reach is None or min(-reach[0], reach[1]) >= least:
            return None
        return f"{reach[0]:.3g} to {reach[1]:.3g} Angstrom"

    demand = f"offsets from the line that reach {least:g} Angstrom on both sides"
    return Rule("axis 1", demand, contradiction, is_error=False)


def _each_ifu_once() -> Rule:
    """Line profiles of which none is left out because there is another one of its slice."""

    def contradiction(values: Values) -> str | None:
        again = values.get("REPEATED")
        return f"IFU {', '.join(map(str, again))} again: what comes first is used" if again else None

    return Rule("files", "the profiles of each IFU once", contradiction, is_error=False)


def _positions_apart() -> Rule:
    """Rows of several slices in more than one place."""

    def contradiction(values: Values) -> str | None:
        width, height, slices, unit = (values.get(key) for key in ("WIDTH", "HEIGHT", "SLICES", "UNIT"))
        if slices is None or slices < SEVERAL_SLICES:
            return None
        least = SMALLEST_FIELD.get(unit, SMALLEST_FIELD["pix"])
        return None if min(width, height) > least else f"{width:.2g} x {height:.2g} {unit}"

    demand = "positions of several slices in more than one place in both directions"
    return Rule("columns xpos, ypos", demand, contradiction, is_error=False, about=PLACES)


def _within_a_field() -> Rule:
    """Rows no farther from each other than a field is wide (or a mosaic, for those on the sky)."""

    def contradiction(values: Values) -> str | None:
        width, height, unit = (values.get(key) for key in ("WIDTH", "HEIGHT", "UNIT"))
        if width is None or max(width, height) <= WIDEST_FIELD.get(unit, WIDEST_FIELD["pix"]):
            return None
        return f"{width:.3g} x {height:.3g} {unit}"

    far, on_sky = WIDEST_FIELD["pix"], WIDEST_FIELD["deg"]
    demand = f"positions within {far:g} pix of each other, {on_sky:g} deg on the sky"
    return Rule("columns xpos, ypos", demand, contradiction, is_error=False, about=PLACES)


def _slices_of_the_field() -> Rule:
    """Rows from as many slices as their field is high: a slice is one pixel of the field high."""

    def contradiction(values: Values) -> str | None:
        height, slices, unit = (values.get(key) for key in ("HEIGHT", "SLICES", "UNIT"))
        if slices != 1 or unit != "pix" or height <= HIGHEST_SLICE:
            return None
        return f"one slice in all rows, over {height:.3g} pix"

    demand = f"more than one slice where the rows are more than {HIGHEST_SLICE:g} pix apart in ypos"
    return Rule("column origin", demand, contradiction, is_error=False, about=PLACES)


def _ifus_of_the_field() -> Rule:
    """Rows of IFUs no farther apart than these are: each has its part of the field."""

    def contradiction(values: Values) -> str | None:
        width, height, ifus, unit = (values.get(key) for key in ("WIDTH", "HEIGHT", "IFUS", "UNIT"))
        if ifus is None or unit != "pix":
            return None
        if width <= WIDEST_IFU and height <= IFU_PITCH * ifus + IFU_MARGIN:
            return None
        return f"{width:.3g} x {height:.3g} pix of {ifus} IFU{'s' if ifus > 1 else ''} side by side"

    demand = f"at most {WIDEST_IFU:g} pix in xpos, {IFU_PITCH:g} pix for each IFU and {IFU_MARGIN:g} in ypos"
    return Rule("columns xpos, ypos", demand, contradiction, is_error=False, about=PLACES)


def _covers_field() -> Rule:
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


def _numbers(name: str) -> Rule:
    """A column that has a number in each row: an error."""

    def contradiction(values: Values) -> str | None:
        given = values.get(name)
        if given is None:
            return None
        wrong = np.flatnonzero(~np.isfinite(np.asarray(given, np.float64)))
        return f"none in row {wrong[0] + 1} ({wrong.size} of {len(given)} rows)" if wrong.size else None

    return Rule(f"column {name}", "a finite number in each row", contradiction)


def _two_rows(name: str) -> Rule:
    """A curve of at least two rows, between which it can be interpolated: an error."""

    def contradiction(values: Values) -> str | None:
        given = values.get(name)
        return None if given is None or len(given) > 1 else f"{len(given)}"

    return Rule(f"column {name}", "two rows at least", contradiction)


def _some_number(name: str) -> Rule:
    """A column that has a number in some row: an error."""

    def contradiction(values: Values) -> str | None:
        given = values.get(name)
        if given is None or not len(given) or np.isfinite(np.asarray(given, np.float64)).any():
            return None
        return f"none in {len(given)} rows"

    return Rule(f"column {name}", "a finite number in some row", contradiction)


def _median(name: str, low: float, high: float) -> Rule:
    """A column of which half the values lie within limits: a warning."""

    def contradiction(values: Values) -> str | None:
        numbers = np.asarray(values.get(name, ()), np.float64)
        known = numbers[np.isfinite(numbers)]
        middle = float(np.median(known)) if known.size else low
        return None if low <= middle <= high else f"a median of {middle:.3g}"

    return Rule(
        f"column {name}", f"values with a median of {low:g} to {high:g}", contradiction, is_error=False
    )


def _measured(name: str, otherwise: str) -> Rule:
    """A column that has a number in each row, if it has any."""

    def contradiction(values: Values) -> str | None:
        numbers = values.get(name)
        missing = [] if numbers is None else [n for n, value in enumerate(numbers, 1) if value != value]
        if not missing or len(missing) == len(numbers):
            return None
        return f"none in row {', '.join(map(str, missing[:5]))}: {otherwise}"

    return Rule(f"column {name}", "a number in each row", contradiction, is_error=False)


NOTHING_COMES = "what is made with it has none either, or it is left out"
MJD = keyword("MJD-OBS", "d", low=50000.0, high=100000.0)
"""Between 1995 and 2132."""
UNFLAGGED = unflagged(0.05)
ANY_WAVELENGTH = column("lambda", "Angstrom", above=0.0, high=1e5)
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
    *(measured(name, 0.3) for name in ("DATA", "xpos", "ypos", "lambda")),
    scatter_fits_noise(NOT_RESAMPLED),
    UNFLAGGED,
    _positions_apart(),
    _within_a_field(),
    _slices_of_the_field(),
    _ifus_of_the_field(),
)
RAW_FRAME = tuple(
    replace(rule, is_error=False)
    for rule in PIXEL_TABLE
    if not rule.about and not rule.item.startswith("keyword ESO DRS")
)
"""Warnings: what comes of them is refused where it is used."""
RAW_SKY = (*RAW_FRAME, not_saturated())
RAW_TWILIGHT = (*RAW_SKY, like_others(20.0))
"""The light fades while they are taken."""
RAW_BIAS = (replace(MJD, is_error=False), not_saturated(), like_others(1.5))
RAW_CALIBRATION = (
    *(replace(rule, is_error=False) for rule in (EXPTIME, MJD)),
    not_saturated(),
    like_others(3.0),
)
DETECTOR_FLAGS = 0xC000FFF0
"""Bits of Euro3D that a pixel of a detector can have: no telluric lines (1, 2), no ghosts (4, 8)."""
IMAGE_OF_DETECTOR = (
    unflagged(0.5),
    known_flags(DETECTOR_FLAGS),
    measured("DATA", 0.99),
    measured("STAT", 0.99),
    no_peak("STAT", 1e12),
)
"""Of masters: a pixel without a number is flagged in what they are applied to."""
MASTER_BIAS = (level("DATA", -1e4, 65536.0, "adu"), scatter_fits_noise(NOT_RESAMPLED), *IMAGE_OF_DETECTOR)
MASTER_DARK = (
    level("DATA", -1e3, 1e5, "electrons per hour"),
    scatter_fits_noise(NOT_RESAMPLED),
    *IMAGE_OF_DETECTOR,
)
MASTER_FLAT = (level("DATA", 0.01, 100.0), scatter_fits_noise(NOT_RESAMPLED), *IMAGE_OF_DETECTOR)
TWILIGHT_CUBE = (level("DATA", 0.01, 100.0), spread("DATA", 1e3), _covers_field())
SUMS = (level("SUM_W", 1e-3, 1e4), not_negative("SUM_W"), not_negative("SUM_WWS"))
GEOMETRY = (
    column("x", "pix", low=-1e5, high=1e5),
    column("y", "pix", low=-1e5, high=1e5),
    column("x", "pix", low=-1000.0, high=1000.0, is_error=False),
    column("y", "pix", low=-1000.0, high=1000.0, is_error=False),
    column("width", "pix", high=1e4),
    column("angle", "deg", low=-45.0, high=45.0, is_error=False),
    column("width", "pix", low=1.0, high=1e4),
    column("width", "pix", high=200.0, is_error=False),
    _slices_apart(),
)
TRACES = (_traces_apart(),)
BAD_PIXELS = (
    column("xpos", "pix", low=1.0, high=WIDEST_DETECTOR, is_error=False),
    column("ypos", "pix", low=1.0, high=WIDEST_DETECTOR, is_error=False),
)
ARC_LINES = (
    _in_range_of_muse("lambda"),
    ANY_WAVELENGTH,
    column("flux", low=0.0, is_error=False),
    _shines("flux"),
    _lines_of_lamps("lambda"),
)
FIELD_IMAGE = (MJD, keyword("EXPTIME", "s", high=1e7, is_error=False))
COMPARED_IMAGE = (
    *FIELD_IMAGE,
    present("MJD-OBS", "no recipe finds the offset by it"),
    present("DATE-OBS", "no recipe finds the offset by it"),
    variances("all pixels have the same weight"),
    scatter_fits_noise(),
)
RESPONSE = (
    _spans_muse("lambda"),
    column("response", "mag", above=0.0),
    column("response", "mag", low=10.0, high=70.0, is_error=False),
    column("resperr", "mag", low=0.0),
    column("resperr", "mag", high=5.0, is_error=False),
    _measured("response", NOTHING_COMES),
)
EXTINCTION = (
    _spans_muse("lambda"),
    column("extinction", "mag", low=0.0),
    column("extinction", "mag", high=10.0, is_error=False),
    _measured("extinction", NOTHING_COMES),
)
TELLURIC = (
    _spans_muse("lambda"),
    column("ftelluric", low=-0.1, high=2.0),
    column("ftelluric", low=0.0, high=1.2, is_error=False),
    _median("ftelluric", 0.3, 1.1),
    column("ftellerr", low=0.0),
    column("ftellerr", high=1.0, is_error=False),
    _measured("ftelluric", NOTHING_COMES),
)
ASTROMETRY = (
    _pixel_size(0.005, 1.0),
    _square_pixels(),
    keyword("CRPIX1", "pix", low=-1e5, high=1e5),
    keyword("CRPIX2", "pix", low=-1e5, high=1e5),
)
OFFSETS = (
    column("RA_OFFSET", "deg", low=-10.0, high=10.0),
    column("DEC_OFFSET", "deg", low=-10.0, high=10.0),
    column("ROT_OFFSET", "deg", low=-360.0, high=360.0),
    column("FLUX_SCALE", above=0.0, high=1e6),
    column("FLUX_SCALE", low=0.01, high=100.0, is_error=False),
    _measured("FLUX_SCALE", "1 is used"),
)
SKY_LINES = (
    _in_range_of_muse("lambda"),
    ANY_WAVELENGTH,
    column("flux", low=0.0, high=1e8, is_error=False),
    _not_faint("flux"),
)
SKY_CONTINUUM = (
    _spans_muse("lambda"),
    column("flux", low=-1e6, high=1e6, is_error=False),
    _median("flux", -1e4, 1e5),
    _not_faint("flux"),
    _measured("flux", NOTHING_COMES),
)
SKY_SPECTRUM = (
    _spans_muse("lambda"),
    _two_rows("data"),
    column("data", low=-1e8, high=1e8, is_error=False),
    _not_faint("data"),
    _measured("data", NOTHING_COMES),
)
SKY_MASK = (
    _pixel_size(0.005, 3.0, is_error=False),
    _marks_some_sky(),
)
OUTPUT_WCS = (
    _pixel_size(0.005, 10.0, is_error=False),
    keyword("CD3_3", "Angstrom", low=0.01, high=1000.0, is_error=False),
)
LSF_PROFILE = (
    keyword("CD1_1", "Angstrom", above=0.0, high=10.0),
    keyword("CD2_2", "Angstrom", above=0.0, high=10000.0),
    keyword("CRVAL2", "Angstrom", low=1000.0, high=20000.0),
    column("slit_width", "Angstrom", above=0.0, high=WIDEST_PROFILE),
    column("bin_width", "Angstrom", above=0.0, high=WIDEST_PROFILE),
    column("lsf_width", "Angstrom", above=0.0, high=20.0, is_error=False),
    _profile_with_area(),
    _profile_is_a_line(),
    _reaches_both_sides(2.0),
    _each_ifu_once(),
)
RAMAN_LINES = (
    _in_range_of_muse("lambda"),
    ANY_WAVELENGTH,
    column("flux", low=0.0),
    _numbers("lambda"),
    _numbers("flux"),
    _numbers("group"),
    column("group", low=0.0, high=1.0, is_error=False),
)
STD_FLUX = (
    _spans_muse("lambda"),
    column("flux", low=0.0, high=1e-6),
    column("flux", above=0.0, high=1e-9, is_error=False),
    column("fluxerr", low=0.0),
    column("fluxerr", high=1e-9, is_error=False),
    _measured("flux", NOTHING_COMES),
)
BANDS = (
    column("lmin", "Angstrom", above=0.0),
    column("lmax", "Angstrom", above=0.0),
    column("bgmin", "Angstrom", above=0.0),
    column("bgmax", "Angstrom", above=0.0),
    _in_range_of_muse("lmin"),
    _bands_in_order(),
)
FIELD_STARS = (
    column("RA", "deg", low=-360.0, high=720.0),
    column("DEC", "deg", low=-90.0, high=90.0),
    column("mag", "mag", low=-30.0, high=60.0, is_error=False),
    _around_the_field(),
    _in_places("RA"),
    _in_places("DEC"),
)
FILTER = (_spans_muse("lambda"), column("throughput", low=0.0), _measured("throughput", NOTHING_COMES))
AUTOCAL = (
    column("corr", above=0.0, high=100.0),
    _some_number("corr"),
    column("corr", low=0.05, high=20.0, is_error=False),
    column("npts", low=0.0),
)

INPUT_RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("OBJECT", "STD", "SKY", "ASTROMETRY", "ILLUM"), RAW_SKY),
    "SKYFLAT": RAW_TWILIGHT,
    "BIAS": RAW_BIAS,
    **dict.fromkeys(("DARK", "FLAT", "ARC", "ARC_LSF"), RAW_CALIBRATION),
    "MASTER_BIAS": MASTER_BIAS,
    "MASTER_DARK": MASTER_DARK,
    "MASTER_FLAT": MASTER_FLAT,
    "REDUCED": (*RAW_FRAME, measured("DATA", 0.3), scatter_fits_noise(NOT_RESAMPLED), *IMAGE_OF_DETECTOR),
    "DATACUBE_SUMS": SUMS,
    "BADPIX_TABLE": BAD_PIXELS,
    "TRACE_TABLE": TRACES,
    "LINE_CATALOG": ARC_LINES,
    "GEOMETRY_TABLE": GEOMETRY,
    "TWILIGHT_CUBE": TWILIGHT_CUBE,
    "PIXTABLE_OBJECT": PIXEL_TABLE,
    "PIXTABLE_REDUCED": PIXEL_TABLE,
    "PIXTABLE_SKY": PIXEL_TABLE,
    "PIXTABLE_STD": PIXEL_TABLE,
    "STD_FLUX_TABLE": STD_FLUX,
    "PIXTABLE_ASTROMETRY": PIXEL_TABLE,
    "ASTROMETRY_REFERENCE": FIELD_STARS,
    "TELLURIC_REGIONS": BANDS,
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
    "SKY_SPECTRUM": SKY_SPECTRUM,
    "SKY_MASK": SKY_MASK,
    "LSF_PROFILE": LSF_PROFILE,
    "OUTPUT_WCS": OUTPUT_WCS,
    "AUTOCAL_FACTORS": AUTOCAL,
}
"""Rules of each input, by its tag."""
BY_RECIPE: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("muse_imphot", "IMAGE_FOV"): COMPARED_IMAGE,
    ("muse_imphot", "DATACUBE_FINAL"): COMPARED_IMAGE,
}
"""Rules of inputs that a recipe asks more of than others do."""


def rules_of(recipe: str, tag: str) -> tuple[Rule, ...]:
    """Return the rules that a recipe has for the inputs of a tag."""
    return BY_RECIPE.get((recipe, tag), INPUT_RULES.get(tag, ()))
