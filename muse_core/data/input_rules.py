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
    level,
    measured,
    not_negative,
    present,
    scatter_fits_noise,
    spread,
    variances,
)

SHORTEST, LONGEST = 3000.0, 11000.0
"""Wavelengths [Angstrom] beyond which no data of MUSE and no calibration for them lie."""
WIDEST_PROFILE = 100.0
"""Angstrom of a slit or a bin, far beyond any of MUSE."""
SEVERAL_SLICES = 4
SMALLEST_FIELD = {"pix": 0.5, "rad": 1e-8, "deg": 1e-6}
"""Extent of the rows of several slices at least, by the unit of the positions."""
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


def _marks_some_sky() -> Rule:
    """A mask with pixels of both kinds: else it is an image of something else."""

    def contradiction(values: Values) -> str | None:
        share = values.get("SKY")
        return None if share is None or 0.0 < share < 1.0 else f"{100 * share:g} per cent"

    return Rule("pixels", "some that are sky, and some that are not", contradiction, is_error=False)


def _profile_with_area() -> Rule:
    """Images of line profiles: more light than holes."""

    def contradiction(values: Values) -> str | None:
        area = values.get("AREA")
        wrong = 0 if area is None else int(np.count_nonzero(~(np.asarray(area) > 0.0)))
        return f"{wrong} of {np.size(area)} profiles without" if wrong else None

    return Rule("pixels", "profiles with an area above 0", contradiction, is_error=False)


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
    *(measured(name, 0.3) for name in ("DATA", "xpos", "ypos", "lambda")),
    scatter_fits_noise(NOT_RESAMPLED),
    _positions_apart(),
)
RAW_FRAME = tuple(
    replace(rule, is_error=False)
    for rule in PIXEL_TABLE
    if not rule.about and not rule.item.startswith("keyword ESO DRS")
)
"""Warnings: what comes of them is refused where it is used."""
MASTER_BIAS = (level("DATA", -1e4, 65536.0, "adu"), scatter_fits_noise(NOT_RESAMPLED))
MASTER_DARK = (level("DATA", -1e3, 1e5, "electrons per hour"), scatter_fits_noise(NOT_RESAMPLED))
MASTER_FLAT = (level("DATA", 0.01, 100.0), scatter_fits_noise(NOT_RESAMPLED))
TWILIGHT_CUBE = (level("DATA", 0.01, 100.0), spread("DATA", 1e3))
SUMS = (level("SUM_W", 1e-3, 1e4), not_negative("SUM_W"), not_negative("SUM_WWS"))
GEOMETRY = (
    column("x", "pix", low=-1000.0, high=1000.0, is_error=False),
    column("y", "pix", low=-1000.0, high=1000.0, is_error=False),
    column("angle", "deg", low=-45.0, high=45.0, is_error=False),
    column("width", "pix", high=200.0, is_error=False),
    _slices_apart(),
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
    column("ftellerr", high=1.0, is_error=False),
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
SKY_LINES = (_in_range_of_muse("lambda"), column("flux", low=0.0, high=1e8, is_error=False))
SKY_CONTINUUM = (_spans_muse("lambda"), column("flux", low=-1e6, high=1e6, is_error=False))
SKY_SPECTRUM = (
    _spans_muse("lambda"),
    column("data", low=-1e8, high=1e8, is_error=False),
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
    column("slit_width", "Angstrom", above=0.0, high=WIDEST_PROFILE),
    column("bin_width", "Angstrom", above=0.0, high=WIDEST_PROFILE),
    column("lsf_width", "Angstrom", above=0.0, high=20.0, is_error=False),
    _profile_with_area(),
)
RAMAN_LINES = (_in_range_of_muse("lambda"), column("flux", low=0.0))
STD_FLUX = (_spans_muse("lambda"), column("flux", low=0.0, high=1e-6), column("fluxerr", low=0.0))
BANDS = (
    column("lmin", "Angstrom", above=0.0),
    column("lmax", "Angstrom", above=0.0),
    column("bgmin", "Angstrom", above=0.0),
    column("bgmax", "Angstrom", above=0.0),
)
FIELD_STARS = (
    column("RA", "deg", low=-360.0, high=720.0),
    column("DEC", "deg", low=-90.0, high=90.0),
    column("mag", "mag", low=-30.0, high=60.0, is_error=False),
)
FILTER = (_spans_muse("lambda"), column("throughput", low=0.0))
AUTOCAL = (column("corr", above=0.0, high=100.0), column("npts", low=0.0))

INPUT_RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("OBJECT", "STD", "SKY", "ASTROMETRY", "SKYFLAT"), RAW_FRAME),
    "MASTER_BIAS": MASTER_BIAS,
    "MASTER_DARK": MASTER_DARK,
    "MASTER_FLAT": MASTER_FLAT,
    "REDUCED": (measured("DATA", 0.3), scatter_fits_noise(NOT_RESAMPLED)),
    "DATACUBE_SUMS": SUMS,
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
