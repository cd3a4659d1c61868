# SPDX-License-Identifier: BSD-3-Clause
"""The mistakes of each input tag that have a name."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from tests.corpus.named_damage import (
    Named,
    block,
    column,
    curve,
    first,
    image,
    keyword,
    matrix,
    origin,
    rows,
    times,
    to,
    without,
)

RANGE = "lambda|Angstrom"
PIXEL_TABLE = (
    *(keyword("EXPTIME", value) for value in (0.0, -600.0, "NaN", 1e30)),
    *(keyword("MJD-OBS", value) for value in (0.0, -1.0, 2457800.5, 1e30)),
    keyword("ESO INS DROT POSANG", 1e5), keyword("ESO TEL PARANG START", 1e5),
    keyword("ESO TEL GEOLON", 1000.0), keyword("ESO TEL GEOLAT", -100.0), keyword("EQUINOX", 1e5),
    keyword("ESO DRS MUSE FLAT FLUX LAMP", -1.0), keyword("ESO DRS MUSE FLAT FLUX SKY", 0.0),
    keyword("RA", 1e4), keyword("DEC", -200.0),
    column("lambda", "is NaN", to(np.nan), RANGE), column("lambda", "is 0", to(0.0), RANGE),
    column("lambda", "is 1e9", to(1e9), RANGE), column("lambda", "in nm", times(0.1), RANGE),
    *(column(name, "starts with inf", first(np.inf)) for name in ("xpos", "ypos")),
    *(column(name, "starts with 1e30", first(1e30)) for name in ("xpos", "ypos")),
    *(column(name, "is NaN", to(np.nan)) for name in ("xpos", "ypos", "data", "stat")),
    column("xpos", "is one value", to(0.0), "xpos"),
    column("stat", "is negative", times(-1.0)), column("stat", "is 0", to(0.0)),
    column("stat", "times 1e12", times(1e12)), column("dq", "is 1", to(1)),
    origin(0), origin(25), origin(31), origin(None, 0), origin(None, 49), origin(None, 63),
    column("origin", "is 0", to(0)), column("origin", "is -1", to(-1)),
    column("data", "is 1e38", to(1e38), "data|stat"), column("data", "is 0", to(0.0), "data|stat"),
)  # fmt: skip
EXPOSED = tuple(keyword("EXPTIME", value) for value in (0.0, -600.0, "NaN", 1e30))
RAW = (
    *(keyword("MJD-OBS", value) for value in (-1.0, 2457800.5)),
    keyword("ESO DET OUT1 GAIN", 0.0),
    keyword("ESO DET OUT1 RON", -1.0), keyword("ESO DET OUT1 NX", 0),
    *(
        keyword(f"ESO DET {key}", value, "DET OUT")
        for key, value in (("OUT1 NX", 10**9), ("OUT2 NY", -5), ("OUT1 PRSCX", 10**6), ("OUT4 OVSCX", -1))
    ),
    image("are 0", to(0), "pixels|CHAN|0", name="CHAN.*"),
    image("are saturated", to(65535), "pixels|CHAN|saturated", name="CHAN.*"),
    image("half", lambda old: old[:, : old.shape[1] // 2], "CHAN|NAXIS|size|pixels", name="CHAN.*"),
    image("one pixel", lambda old: old[:1, :1], "CHAN|NAXIS|size|pixels", name="CHAN.*"),
)  # fmt: skip
MASTER = (
    image("are 0", to(0.0), "DATA", name=".*DATA"), image("are 1", to(1.0), "DATA|STAT", name=".*DATA"),
    image("are NaN", to(np.nan), "DATA", name=".*DATA"),
    image("are 1e30", to(1e30), "DATA", name=".*DATA"),
    image("are very negative", lambda old: -np.abs(old) - 1e5, "DATA|STAT", name=".*DATA"),
    image("start with a variance of 2.5e36", first(2.5e36), "STAT", name=".*STAT"),
    image("negative variances", lambda old: -np.abs(old) - 1.0, "STAT", name=".*STAT"),
    image("have a block of 255", block(255), "DQ", name=".*DQ"),
    image("have a block of bits that none knows", block(1 << 20), "DQ", name=".*DQ"),
    image("are all bad", to(1), "DQ", name=".*DQ"),
    image("half", lambda old: old[:, : old.shape[1] // 2], "DATA|STAT|DQ|NAXIS|size|pixels"),
    without(".*STAT"), without(".*DQ"),
)  # fmt: skip
IMAGE = (
    image("are 0", to(0.0), "DATA|pixel|0|image", name="DATA"),
    image("are 1", to(1.0), "DATA|pixel|image|star", name="DATA"),
    image("are NaN", to(np.nan), "DATA|pixel|image", name="DATA"), without("DATA"),
    *(
        matrix(told, cd, "pixels|CD")
        for told, cd in (
            ("of zeros", (0.0,) * 4), ("degenerate", (1e-5,) * 4), ("1 degree", (-1.0, 0.0, 0.0, 1.0)),
        )
    ),
)  # fmt: skip
GRID = "CD|CRVAL|CRPIX|CTYPE|CUNIT|matrix|coordinates|grid"
ANY_SIZE = "size|NAXIS|pixel|shape|x"
NAMED: dict[str, tuple[Named, ...]] = {
    "PIXTABLE_.*": PIXEL_TABLE,
    "OBJECT|SKY|STD|ASTROMETRY|ILLUM|SKYFLAT|DARK|FLAT|ARC|ARC_LSF": (*EXPOSED, *RAW),
    "BIAS": RAW,
    "MASTER_.*": MASTER,
    "IMAGE_FOV|DATACUBE_FINAL": (keyword("MJD-OBS", -1.0),),
    "IMAGE_FOV|REFERENCE_IMAGE|HST_IMAGE|HST_IMAGE_REGRID|DATACUBE_FINAL": IMAGE,
    "STD_RESPONSE": curve("response", (0.0, -1.0, 1e30)),
    "EXTINCT_TABLE": curve("extinction", (-0.5, 1e30)),
    "STD_TELLURIC": tuple(
        one for one in curve("ftelluric", (5.0, -1.0, 0.0)) if one.name != "lambda is one value"
    ),  # beyond a curve nothing is corrected
    "SKY_CONTINUUM": curve("flux", (1e30,)),
    "SKY_SPECTRUM": curve("data", (1e30,)),
    "STD_FLUX_TABLE": curve("flux", (0.0, -1.0, 1e30)),
    "FILTER_LIST": (
        *curve("throughput", (-1.0,), "throughput|finite"),
        column("lambda", "unsorted", lambda old: old[::-1].copy(), "lambda|sort|order|ascend"),
    ),
    "OFFSET_LIST": (
        *(column("FLUX_SCALE", f"is {v:g}", to(v)) for v in (0.0, -1.0, 1e30)),
        *(
            column(name, f"is {v:g}", to(v))
            for name in ("RA_OFFSET", "DEC_OFFSET")
            for v in (np.nan, 100.0, 1e30)
        ),
        rows("none", lambda n: np.arange(0), "row|offset"),
    ),
    "ASTROMETRY_WCS": (
        matrix("of zeros", (0.0,) * 4), matrix("degenerate", (5e-5,) * 4),
        matrix("1 degree", (-1.0, 0.0, 0.0, 1.0)), matrix("1e300", (1e300, 0.0, 0.0, 1e300)),
        matrix("text", ("NaN", 0.0, 0.0, "NaN")), keyword("CRPIX1", 1e30),
    ),
    "SKY_LINES": (
        column("lambda", "as pixels", lambda old: np.arange(old.size), "lambda"),
        column("lambda", "in nm", times(0.1)), column("lambda", "is NaN", to(np.nan)),
        column("flux", "negative", lambda old: -np.abs(old) - 1), column("flux", "is NaN", to(np.nan)),
        column("flux", "is 1e30", to(1e30)),  rows("none", lambda n: np.arange(0), "row|line"),
    ),
    "RAMAN_LINES": (
        column("lambda", "as pixels", lambda old: np.arange(old.size), "lambda"),
        column("lambda", "is NaN", to(np.nan)), column("flux", "negative", lambda old: -np.abs(old) - 1),
        column("flux", "is NaN", to(np.nan)), column("group", "is 1000000", to(10**6), "group|band"),
        column("group", "is -1", to(-1)),
    ),
    "LINE_CATALOG": (
        column("lambda", "50 A off", lambda old: old + 50.0, "lambda|LINE_CATALOG|line"),
        column("lambda", "in nm", times(0.1)), column("lambda", "is NaN", to(np.nan)),
        column("flux", "is 0", to(0.0)), column("quality", "is 0", to(0), "quality|line"),
        column("lambda", "reversed", lambda old: old[::-1].copy(), "lambda|order"),
        rows("none", lambda n: np.arange(0), "row|line"),
    ),
    "LSF_PROFILE": (
        *(keyword(key, v) for key in ("CD1_1", "CD2_2") for v in (0.0, -1.0, 1e30)),
        *(keyword(key, 1e9, "CRVAL|CRPIX|axis") for key in ("CRVAL1", "CRVAL2", "CRPIX1")),
        image("are 0", to(0.0), "pixels|profile", name="SLICE.*|.*PROFILE.*|.*CHAN.*|.*LSF.*|"),
        image("are NaN", to(np.nan), "pixels|profile"), image("are 1e30", to(1e30), "pixels|profile"),
        column("lsf_width", "is 1e300", to(1e300)), column("lsf_width", "is NaN", to(np.nan)),
        column("slit_width", "is -1", to(-1.0)), column("bin_width", "is 0", to(0.0)),
        column("hermit.", "is 1e300", to(1e300), "hermit"),
        column("hermit.", "is NaN", to(np.nan), "hermit"),
        column("slice", "is 0", to(0)),
        column("slice", "is 49", to(49)),
        column("ifu", "is 0", to(0)), column("ifu", "is 25", to(25)),
    ),
    "TRACE_TABLE": (
        column("tc.*", "is 1e300", to(1e300), "trace|tc|column|TRACE"),
        column("tc.*", "is NaN", to(np.nan), "trace|tc|column|TRACE"),
        column("tc._00", "is -1e5", to(-1e5), "trace|tc|column|TRACE"),
        column("tc._00", "is one", to(20.0), "trace|tc|column|TRACE"),
        column("SliceNo", "is 0", to(0)), column("SliceNo", "is 49", to(49)),
        column("SliceNo", "is 1", to(1)),
        rows("none", lambda n: np.arange(0), "row|slice"),
        rows("one", lambda n: np.arange(1), "row|slice|line|TABLE"),
    ),
    "WAVECAL_TABLE": (
        column("wlc.*", "is 1e300", to(1e300), "wlc|wave|slice"),
        column("wlc.*", "is NaN", to(np.nan), "wlc|wave|slice"),
        column("wlc.*", "in nm", times(0.1), "wlc|wave|slice"),
        column("wlc00", "is 0", to(0.0), "wlc|wave|slice"),
        column("wlc.*", "reversed", times(-1.0), "wlc|wave|slice"),
        column("SliceNo", "is 0", to(0)), column("SliceNo", "is 49", to(49)),
        column("SliceNo", "is 1", to(1)),
        rows("none", lambda n: np.arange(0), "row|slice"),
        rows("one", lambda n: np.arange(1), "row|slice|line|TABLE"),
    ),
    "GEOMETRY_TABLE": (
        *(column(n, f"is {v:g}", to(v)) for n in ("x", "y") for v in (np.nan, 1e6, 0.0, 1e30)),
        column("angle", "is 1e5", to(1e5)), column("angle", "is NaN", to(np.nan)),
        column("width", "is 0", to(0.0)),
        column("width", "is -1", to(-1.0)), column("width", "is NaN", to(np.nan)),
        column("width", "is 1e30", to(1e30)),
        *(column("SubField", f"is {v}", to(v), "SubField|CHAN") for v in (0, 25)),
        column("SliceCCD", "is 0", to(0)),
        column("SliceCCD", "is 49", to(49)), column("SliceCCD", "is 1", to(1)),

        rows("all twice", lambda n: np.r_[np.arange(n), np.arange(n)], "twice|slice|row"),
        rows("none", lambda n: np.arange(0), "row|slice"),
    ),
    "OUTPUT_WCS": (
        matrix("of zeros", (0.0,) * 4, GRID), matrix("degenerate", (5e-5,) * 4, GRID),
        matrix("1 degree", (-1.0, 0.0, 0.0, 1.0)),
        *(
            keyword(key, value, GRID)
            for key, value in (
                ("CD3_3", 0.0), ("CD3_3", -1.25), ("CD3_3", 1e-9), ("CRPIX1", 1e12), ("CRVAL3", 1e9),
                ("CRVAL1", 1e6), ("CRVAL2", 95.0), ("CTYPE3", "FREQ"), ("CUNIT3", "nonsense"),
            )
        ),
    ),
    "SKY_MASK|VIGNETTING_MASK": (
        image("are 0", to(0), "pixel|sky|mask"), image("are 1", to(1), "pixel|sky|mask"),
    ),
    "HST_PSF": (
        image("are 0", to(0.0), "PSF|pixel|sum|light"), image("are NaN", to(np.nan), "PSF|pixel|number"),
        image("are negative", lambda old: -np.abs(old) - 1e-9, "PSF|pixel|sum|light"),
        image("one pixel", lambda old: old[:1, :1], "PSF|" + ANY_SIZE),
    ),
    "TWILIGHT_CUBE": (
        image("are 0", to(0.0), "DATA"), image("are NaN", to(np.nan), "DATA"),
        image("are negative", times(-1.0), "DATA"),
        image("half", lambda old: old[:, : old.shape[1] // 2], "DATA|" + ANY_SIZE),
        image("one axis less", lambda old: old[0], "DATA|NAXIS|axes|dim"), keyword("CD3_3", 0.0),
        keyword("CRVAL3", 1e9, "CRVAL"), keyword("CRPIX1", 1e12, "CRPIX"),
    ),
    "DATACUBE_SUMS": (
        image("of other size", lambda old: old[:, :-1], ANY_SIZE, name="SUM_W"),
        image("of other size", lambda old: old[:-1], ANY_SIZE, name="SUM_WD|SUM_WWS|SUM_WV|.*WD.*"),
        image("are NaN", to(np.nan), "SUM_W", name="SUM_W"),
        image("are negative", lambda old: -np.abs(old) - 1, "SUM_W", name="SUM_W"),
        image("are 0", to(0.0), "SUM_W", name="SUM_W"), image("are 1e30", to(1e30), "SUM", name="SUM_W"),
        without("SUM_W"), without("SUM_WWS"),
    ),
    "AUTOCAL_FACTORS": (
        *(column("corr", f"is {v:g}", to(v)) for v in (0.0, -1.0, np.nan, 1e30)),
        column("ifu", "is 0", to(0)), column("ifu", "is 25", to(25)),
        column("sli", "is 0", to(0)), column("sli", "is 49", to(49)), column("quad", "is 0", to(0)),
        column("quad", "is 1000000", to(10**6)),
        rows("none", lambda n: np.arange(0), "row|table|found"),
    ),
    "BADPIX_TABLE": (
        column("xpos", "is 0", to(0)), column("ypos", "is 1000000", to(10**6)),
        column("xpos", "is -5", to(-5)),
    ),
    "ASTROMETRY_REFERENCE": (
        column("RA", "is NaN", to(np.nan)), column("RA", "is 1000", to(1000.0)),
        column("DEC", "is 95", to(95.0)), column("RA", "10 deg off", lambda old: old + 10.0),
        column("RA", "is one value", lambda old: old * 0 + old[0]),
        rows("none", lambda n: np.arange(0), "row|star"),
    ),
    "REFERENCE_CATALOG": (
        column("RA", "is NaN", to(np.nan), "position"), column("RA", "is 1000", to(1000.0), "position"),
        column("DEC", "is 95", to(95.0), "position"),
        column("RA", "10 deg off", lambda old: old + 10.0, "position|RA|star|source|away"),
        rows("none", lambda n: np.arange(0), "row|source|star|position"),
    ),
    "TELLURIC_REGIONS": (
        column("lmin", "is 0", to(0.0)), column("lmin|lmax|bgmin|bgmax", "in nm", times(0.1), "lmin"),
        column("lmin", "above lmax", lambda old: old + 1000.0, "lmin|bgmin"),
        column("lmin", "is NaN", to(np.nan)),
    ),
    "REDUCED": (
        *MASTER, keyword("EXPTIME", -1.0),
    ),
}  # fmt: skip
"""Pattern of tags -> mistakes."""


def named_for(tag: str) -> Iterator[Named]:
    """Mistakes of the files of a tag."""
    for pattern, mistakes in NAMED.items():
        if re.fullmatch(pattern, tag):
            yield from mistakes
