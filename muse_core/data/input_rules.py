# SPDX-License-Identifier: BSD-3-Clause
"""What the inputs of the recipes must say: all rules of an input at once.

Limits are those of nature and of the instrument, drawn wide: what lies beyond them is a mistake (another
unit, a broken header), not an unusual exposure.
"""

from __future__ import annotations

from dataclasses import replace

from muse_core.data.column_rules import (
    all_numbers,
    in_places,
    marks_some_sky,
    median,
    mostly_numbers,
    some_number,
    two_rows,
)
from muse_core.data.place_rules import (
    around_the_field,
    covers_field,
    ifus_of_the_field,
    pixel_size,
    positions_apart,
    slices_apart,
    slices_of_the_field,
    square_pixels,
    traces_apart,
    within_a_field,
)
from muse_core.data.rules import (
    NOT_RESAMPLED,
    Rule,
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
from muse_core.data.spectral_rules import (
    bands_in_order,
    each_ifu_once,
    in_range_of_muse,
    lines_of_lamps,
    mostly_of_muse,
    not_faint,
    profile_is_a_line,
    profile_with_area,
    reaches_both_sides,
    shines,
    spans_muse,
)

WIDEST_PROFILE = 100.0
"""Angstrom of a slit or a bin, far beyond any of MUSE."""
WIDEST_DETECTOR = 4240.0
"""Pixels of a raw detector with its overscans."""
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
    measured("DATA", 0.3),
    *(measured(name, 0.9) for name in ("xpos", "ypos", "lambda")),
    mostly_of_muse("lambda", 0.9),
    scatter_fits_noise(NOT_RESAMPLED),
    UNFLAGGED,
    positions_apart(),
    within_a_field(),
    slices_of_the_field(),
    ifus_of_the_field(),
    ifus_of_the_field(5.0, is_error=True),
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
TWILIGHT_CUBE = (level("DATA", 0.01, 100.0), spread("DATA", 1e3), covers_field())
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
    slices_apart(),
)
TRACES = (traces_apart(),)
BAD_PIXELS = (
    column("xpos", "pix", low=1.0, high=WIDEST_DETECTOR, is_error=False),
    column("ypos", "pix", low=1.0, high=WIDEST_DETECTOR, is_error=False),
)
ARC_LINES = (
    in_range_of_muse("lambda"),
    ANY_WAVELENGTH,
    column("flux", low=0.0, is_error=False),
    shines("flux"),
    lines_of_lamps("lambda"),
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
    spans_muse("lambda"),
    column("response", "mag", above=0.0),
    column("response", "mag", low=10.0, high=70.0, is_error=False),
    column("resperr", "mag", low=0.0),
    column("resperr", "mag", high=5.0, is_error=False),
    mostly_numbers("response", NOTHING_COMES),
)
EXTINCTION = (
    spans_muse("lambda"),
    column("extinction", "mag", low=0.0),
    column("extinction", "mag", high=10.0, is_error=False),
    mostly_numbers("extinction", NOTHING_COMES),
)
TELLURIC = (
    spans_muse("lambda"),
    column("ftelluric", low=-0.1, high=2.0),
    column("ftelluric", low=0.0, high=1.2, is_error=False),
    median("ftelluric", 0.3, 1.1),
    column("ftellerr", low=0.0),
    column("ftellerr", high=1.0, is_error=False),
    mostly_numbers("ftelluric", NOTHING_COMES),
)
ASTROMETRY = (
    pixel_size(0.005, 1.0),
    square_pixels(),
    keyword("CRPIX1", "pix", low=-1e5, high=1e5),
    keyword("CRPIX2", "pix", low=-1e5, high=1e5),
)
OFFSETS = (
    column("RA_OFFSET", "deg", low=-10.0, high=10.0),
    column("DEC_OFFSET", "deg", low=-10.0, high=10.0),
    column("ROT_OFFSET", "deg", low=-360.0, high=360.0),
    column("FLUX_SCALE", above=0.0, high=1e6),
    column("FLUX_SCALE", low=0.01, high=100.0, is_error=False),
    mostly_numbers("FLUX_SCALE", "1 is used"),
)
SKY_LINES = (
    in_range_of_muse("lambda"),
    ANY_WAVELENGTH,
    column("flux", low=0.0, high=1e8, is_error=False),
    not_faint("flux"),
)
SKY_CONTINUUM = (
    spans_muse("lambda"),
    column("flux", low=-1e6, high=1e6, is_error=False),
    median("flux", -1e4, 1e5),
    not_faint("flux"),
    mostly_numbers("flux", NOTHING_COMES),
)
SKY_SPECTRUM = (
    spans_muse("lambda"),
    two_rows("data"),
    column("data", low=-1e8, high=1e8, is_error=False),
    not_faint("data"),
    mostly_numbers("data", NOTHING_COMES),
)
SKY_MASK = (
    pixel_size(0.005, 3.0, is_error=False),
    marks_some_sky(),
)
OUTPUT_WCS = (
    pixel_size(0.005, 10.0, is_error=False),
    keyword("CD3_3", "Angstrom", low=0.01, high=1000.0, is_error=False),
)
LSF_PROFILE = (
    keyword("CD1_1", "Angstrom", above=0.0, high=10.0),
    keyword("CD2_2", "Angstrom", above=0.0, high=10000.0),
    keyword("CRVAL2", "Angstrom", low=1000.0, high=20000.0),
    column("slit_width", "Angstrom", above=0.0, high=WIDEST_PROFILE),
    column("bin_width", "Angstrom", above=0.0, high=WIDEST_PROFILE),
    column("lsf_width", "Angstrom", above=0.0, high=20.0, is_error=False),
    profile_with_area(),
    profile_is_a_line(),
    reaches_both_sides(2.0),
    each_ifu_once(),
)
RAMAN_LINES = (
    in_range_of_muse("lambda"),
    ANY_WAVELENGTH,
    column("flux", low=0.0),
    all_numbers("lambda"),
    all_numbers("flux"),
    all_numbers("group"),
    column("group", low=0.0, high=1.0, is_error=False),
)
STD_FLUX = (
    spans_muse("lambda"),
    column("flux", low=0.0, high=1e-6),
    column("flux", above=0.0, high=1e-9, is_error=False),
    column("fluxerr", low=0.0),
    column("fluxerr", high=1e-9, is_error=False),
    mostly_numbers("flux", NOTHING_COMES),
)
BANDS = (
    column("lmin", "Angstrom", above=0.0),
    column("lmax", "Angstrom", above=0.0),
    column("bgmin", "Angstrom", above=0.0),
    column("bgmax", "Angstrom", above=0.0),
    in_range_of_muse("lmin"),
    bands_in_order(),
)
FIELD_STARS = (
    column("RA", "deg", low=-360.0, high=720.0),
    column("DEC", "deg", low=-90.0, high=90.0),
    column("mag", "mag", low=-30.0, high=60.0, is_error=False),
    around_the_field(),
    in_places("RA"),
    in_places("DEC"),
)
FILTER = (spans_muse("lambda"), column("throughput", low=0.0), mostly_numbers("throughput", NOTHING_COMES))
AUTOCAL = (
    column("corr", above=0.0, high=100.0),
    some_number("corr"),
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
