# SPDX-License-Identifier: BSD-3-Clause
"""Every optional input of every recipe: a QC flag tells that it was missing, or a reason why none."""

from __future__ import annotations

import logging

import pytest
from astropy.io import fits

from muse_core.framework import RecipeError, run_recipe
from muse_core.framework.registry import available
from muse_core.simulate.raw import RawSetup, simulate_raw
from muse_core.simulate.raw_science import simulate_raw_science
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit

RECIPES = {recipe.spec.name: recipe.spec for recipe in available()}

# what an entry says besides the ends of keywords
RAW = "reason: another kind of raw frame; one of them is required, and the products bear the tag"
ERROR = "reason: an error where it is needed"
OTHER_WAY = "reason: another way to the same result; nothing is left out without it"
CHOICE = "reason: the user's choice of pixels; by default none are left out"
PRECISION = "reason: pixels that the masters flag are left out in any case"

SCALE = "reason: the scale of the fluxes alone; the product does not depend on it"
LAMPS = "reason: lamps are bright, and the product is a place or a shape, not a flux"

FILTERS = "FILTERS COMPLETE"
TABLE = {
    "muse_astrometry": dict.fromkeys(("EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC"), SCALE),
    "muse_bias": {"BADPIX_TABLE": PRECISION},
    "muse_create_sky": {
        **dict.fromkeys(("EXTINCT_TABLE", "STD_RESPONSE", "SKY_LINES", "LSF_PROFILE"), ERROR),
        "STD_TELLURIC": SCALE,
        "SKY_CONTINUUM": OTHER_WAY,
        "SKY_MASK": CHOICE,
    },
    "muse_dark": {"BADPIX_TABLE": PRECISION},
    "muse_flat": {"MASTER_DARK": LAMPS, "BADPIX_TABLE": PRECISION},
    "muse_lsf": {
        **dict.fromkeys(("ARC", "ARC_LSF"), RAW),
        **dict.fromkeys(("MASTER_DARK", "MASTER_FLAT"), LAMPS),
        "BADPIX_TABLE": PRECISION,
    },
    "muse_standard": {
        "EXTINCT_TABLE": "CORRECTED EXTINCT",
        "TELLURIC_REGIONS": OTHER_WAY,
        "FILTER_LIST": "reason: throughputs in filters beside the response",
    },
    "muse_wavecal": {
        **dict.fromkeys(("MASTER_DARK", "MASTER_FLAT"), LAMPS),
        "BADPIX_TABLE": PRECISION,
    },
    "muse_exp_align": {
        "SOURCE_LIST": OTHER_WAY,
        "REFERENCE_IMAGE": OTHER_WAY,
        "REFERENCE_CATALOG": OTHER_WAY,
    },
    "muse_exp_combine": {
        "OFFSET_LIST": "OFFSETS APPLIED",
        "FILTER_LIST": FILTERS,
        "OUTPUT_WCS": OTHER_WAY,
        "DATACUBE_SUMS": OTHER_WAY,
    },
    "muse_imphot": {
        "IMAGE_FOV": RAW,
        "DATACUBE_FINAL": RAW,
        "HST_IMAGE": ERROR,
        "HST_IMAGE_REGRID": OTHER_WAY,
        "FILTER_LIST": ERROR,
        "IMPHOT_REGIONS": CHOICE,
        "IMPHOT_MASK": CHOICE,
        "HST_PSF": OTHER_WAY,
    },
    "muse_scibasic": {
        **dict.fromkeys(("OBJECT", "STD", "SKY", "ASTROMETRY", "REDUCED"), RAW),
        **dict.fromkeys(("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE"), ERROR),
        **dict.fromkeys(("WAVECAL_TABLE", "GEOMETRY_TABLE"), ERROR),
        "MASTER_DARK": "CORRECTED DARK",
        "BADPIX_TABLE": PRECISION,
        "ILLUM": "CORRECTED ILLUM",
        "TWILIGHT_CUBE": "CORRECTED TWILIGHT",
    },
    "muse_scipost": {
        "EXTINCT_TABLE": "CALIBRATED EXTINCT",
        "STD_RESPONSE": "CALIBRATED FLUX",
        "STD_TELLURIC": "CALIBRATED TELLURIC",
        "ASTROMETRY_WCS": "CALIBRATED ASTROMETRY",
        "OFFSET_LIST": "OFFSETS APPLIED",
        "FILTER_LIST": FILTERS,
        "OUTPUT_WCS": OTHER_WAY,
        "RAMAN_LINES": "CORRECTED RAMAN",
        **dict.fromkeys(("AUTOCAL_FACTORS", "SKY_LINES", "LSF_PROFILE"), ERROR),
        "SKY_CONTINUUM": OTHER_WAY,
        "SKY_MASK": OTHER_WAY,
    },
    "muse_twilight": {
        "ILLUM": "CORRECTED ILLUM",
        "MASTER_DARK": "CORRECTED DARK",
        "BADPIX_TABLE": PRECISION,
        "VIGNETTING_MASK": "CORRECTED VIGNETTING",
    },
    "muse_scipost_apply_astrometry": {"ASTROMETRY_WCS": ERROR},
    "muse_scipost_calibrate_flux": {
        "EXTINCT_TABLE": "CALIBRATED EXTINCT",
        "STD_RESPONSE": ERROR,
        "STD_TELLURIC": "CALIBRATED TELLURIC",
    },
    "muse_scipost_combine_pixtables": {"OFFSET_LIST": "OFFSETS APPLIED"},
    "muse_scipost_correct_dar": {},
    "muse_scipost_correct_rv": {},
    "muse_scipost_make_cube": {"FILTER_LIST": FILTERS, "OUTPUT_WCS": OTHER_WAY},
    "muse_scipost_raman": {"RAMAN_LINES": ERROR, "LSF_PROFILE": ERROR, "SKY_MASK": OTHER_WAY},
    "muse_scipost_subtract_sky": dict.fromkeys(("SKY_LINES", "SKY_CONTINUUM", "LSF_PROFILE"), ERROR),
    "muse_scipost_subtract_sky_simple": {"SKY_SPECTRUM": ERROR},
}


@pytest.mark.parametrize("spec", RECIPES.values(), ids=RECIPES)
def test_the_table_has_every_optional_input(spec):
    assert set(TABLE[spec.name]) == {declared.tag for declared in spec.inputs if declared.min == 0}


class Kept(logging.Handler):
    """The warnings of a run."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def claims_of(path, recipe="muse_scibasic"):
    """Ends of the QC keywords of a product."""
    prefix = f"{RECIPES[recipe].qc_prefix} "
    header = fits.getheader(path)
    return {key.removeprefix(prefix): header[key] for key in header if key.startswith(prefix)}


def outcome(recipe, frames, folder, strict=False, **settings):
    """Ends of the QC keywords of the first product that all corrections concern, and the warnings."""
    kept = Kept()
    folder.mkdir()
    product = run_recipe(recipe, frames, settings, workdir=folder, handlers=[kept], strict=strict, threads=2)
    first = next((p for p in product if p.tag == "PIXTABLE_OBJECT"), product[0])  # reduced images come first
    return claims_of(first.path, recipe), "\n".join(kept.texts)


def without(frames, *tags):
    return [frame for frame in frames if frame[1] not in tags]


@pytest.fixture(scope="module")
def science(tmp_path_factory):
    # up to where the slices of the ILLUM are compared, else it is of no use
    setup = RawSetup(nx=144, ny=160, ifus=(1, 2), lambda_min=5480.0, lambda_max=6700.0)
    folder = tmp_path_factory.mktemp("science")
    return simulate_raw_science(folder, setup, n_stars=1, skyflats=0, illum=True, calibrations=False).raw


@pytest.fixture(scope="module")
def skyflats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skyflats")
    simulate_raw(folder, RawSetup(nx=192, ny=40, ifus=(1, 2)))
    lines = (folder / "twilight.sof").read_text().splitlines()
    return [(folder / name, tag) for name, tag in (line.split() for line in lines)]


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """Two reduced tables, and a FILTER_LIST."""
    sim = simulate_scipost(
        tmp_path_factory.mktemp("in"), seed=4, n_ifu=1, slices=4, columns=16, lambda_range=(7240.0, 7290.0)
    )
    folder = tmp_path_factory.mktemp("out")
    made = run_recipe(
        "muse_scipost", sim.frames(), {"skymethod": "none", "save": "individual"}, workdir=folder, threads=2
    )
    first = next(product.path for product in made if product.tag == "PIXTABLE_REDUCED")
    with fits.open(first) as hdus:
        hdus[0].header["DATE-OBS"], hdus[0].header["MJD-OBS"] = "2026-01-01T00:00:00.000", 61041.0
        hdus.writeto(folder / "second.fits")
    tables = [(first, "PIXTABLE_REDUCED"), (folder / "second.fits", "PIXTABLE_REDUCED")]
    return tables, (sim.paths("FILTER_LIST")[0], "FILTER_LIST")


def test_science_frames_without_corrections(science, tmp_path):
    cubeless, told = outcome("muse_scibasic", without(science, "TWILIGHT_CUBE"), tmp_path / "a")
    assert (cubeless["CORRECTED ILLUM"], cubeless["CORRECTED TWILIGHT"]) == (True, False)
    assert cubeless["CORRECTED DARK"] is any(tag == "MASTER_DARK" for _, tag in science)
    assert "the illumination of the field is not corrected" in told
    bare = without(science, "TWILIGHT_CUBE", "ILLUM", "MASTER_DARK")
    flags, told = outcome("muse_scibasic", bare, tmp_path / "b")
    assert not any(flags[f"CORRECTED {name}"] for name in ("ILLUM", "TWILIGHT", "DARK"))
    assert "no ILLUM" in told
    assert "DARK" not in told
    with pytest.raises(RecipeError, match="no ILLUM"):
        outcome("muse_scibasic", bare, tmp_path / "c", strict=True)
    assert not list((tmp_path / "c").glob("*.fits"))
    assert not any(
        "CORRECTED" in key for key in outcome("muse_scibasic", bare, tmp_path / "d", compat=True)[0]
    )


def edited(frames, tag, folder, change):
    """The frames with a changed copy of the one with a tag."""
    source = next(path for path, own in frames if own == tag)
    with fits.open(source, memmap=False) as hdus:
        kept = fits.HDUList([hdu.copy() for hdu in hdus])
    change(kept)
    kept.writeto(folder / f"{tag}.fits")
    return [*without(frames, tag), (folder / f"{tag}.fits", tag)]


def drop_second_ifu(hdus):
    for hdu in [hdu for hdu in hdus if hdu.name.startswith("CHAN02")]:
        hdus.remove(hdu)


def other_mode(hdus):
    hdus[0].header["ESO DET READ CURID"] = 99


@pytest.mark.parametrize("merge", [False, True])
def test_products_of_an_ifu_claim_what_was_done_for_it(science, tmp_path, merge):
    """A MASTER_DARK that lacks an IFU, an ILLUM of another read mode: told, and no product claims them."""
    given = edited(science, "MASTER_DARK", tmp_path, drop_second_ifu)
    _, told = outcome("muse_scibasic", given, tmp_path / "a", merge=merge)
    assert "IFU 2: the MASTER_DARK lacks it: the dark current is not subtracted" in told
    tables = [claims_of(tmp_path / f"a/PIXTABLE_OBJECT_0001-0{ifu}.fits") for ifu in (1, 2)]
    assert [flags["CORRECTED DARK"] for flags in tables] == [True, False]
    assert all(flags["CORRECTED ILLUM"] for flags in tables)
    names = ["OBJECT_RED_0001.fits"] if merge else [f"OBJECT_RED_0001-0{ifu}.fits" for ifu in (1, 2)]
    images = [claims_of(tmp_path / "a" / name) for name in names]
    assert [flags["CORRECTED DARK"] for flags in images] == ([False] if merge else [True, False])
    assert not any(flags["CORRECTED ILLUM"] for flags in images)  # applied to the rows of the table alone
    _, told = outcome("muse_scibasic", edited(science, "ILLUM", tmp_path, other_mode), tmp_path / "b")
    assert "ILLUM not used" in told
    assert not claims_of(tmp_path / "b/PIXTABLE_OBJECT_0001-01.fits")["CORRECTED ILLUM"]


def test_sky_flats_claim_what_was_done_for_all_ifus(skyflats, tmp_path):
    given = edited(skyflats, "MASTER_DARK", tmp_path, drop_second_ifu)
    flags, told = outcome("muse_twilight", given, tmp_path / "a", dlambda=500.0)
    assert "the MASTER_DARK lacks it" in told
    assert (flags["CORRECTED DARK"], flags["CORRECTED ILLUM"]) == (False, True)
    flags, told = outcome(
        "muse_twilight", edited(skyflats, "ILLUM", tmp_path, other_mode), tmp_path / "b", dlambda=500.0
    )
    assert "ILLUM not used" in told
    assert not flags["CORRECTED ILLUM"]


def test_sky_flats_without_corrections(skyflats, tmp_path):
    every, told = outcome("muse_twilight", skyflats, tmp_path / "a", dlambda=500.0)
    given = {tag for _, tag in skyflats}
    for tag, word in TABLE["muse_twilight"].items():
        assert word == PRECISION or every[word] is (tag in given)
    assert every["CORRECTED ILLUM"]
    assert "ILLUM" not in told
    bare = without(skyflats, "ILLUM", "VIGNETTING_MASK", "MASTER_DARK")
    flags, told = outcome("muse_twilight", bare, tmp_path / "b", dlambda=500.0)
    assert not any(flags[f"CORRECTED {name}"] for name in ("ILLUM", "VIGNETTING", "DARK"))
    assert "no ILLUM" in told
    with pytest.raises(RecipeError, match="no ILLUM"):
        outcome("muse_twilight", bare, tmp_path / "c", strict=True, dlambda=500.0)


def offset_list(path, tables):
    """A list with a row for each table."""
    dates = [fits.getheader(table)["DATE-OBS"] for table, _ in tables]
    columns = [fits.Column("DATE_OBS", "23A", array=dates)]
    columns += [
        fits.Column(f"{name}_OFFSET", "D", array=[1e-5] * len(dates), unit="deg") for name in ("RA", "DEC")
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    return path, "OFFSET_LIST"


def test_exposures_without_offsets_and_filters(reduced, tmp_path):
    tables, filters = reduced
    settings = {"filter": "white,WIDE"}
    flags, told = outcome("muse_exp_combine", tables, tmp_path / "a", **settings)
    assert (flags["OFFSETS APPLIED"], flags["FILTERS COMPLETE"]) == (False, False)
    assert "filter WIDE not found (no FILTER_LIST was given)" in told
    with pytest.raises(RecipeError, match="filter WIDE not found"):
        outcome("muse_exp_combine", tables, tmp_path / "b", strict=True, **settings)
    half = [*tables, filters, offset_list(tmp_path / "half.fits", tables[:1])]
    flags, told = outcome("muse_exp_combine", half, tmp_path / "c", **settings)
    assert (flags["OFFSETS APPLIED"], flags["FILTERS COMPLETE"]) == (False, True)
    assert "No entry for DATE-OBS=2026-01-01" in told
    every = [*tables, filters, offset_list(tmp_path / "both.fits", tables)]
    flags, _ = outcome("muse_exp_combine", every, tmp_path / "d", **settings)
    assert (flags["OFFSETS APPLIED"], flags["FILTERS COMPLETE"]) == (True, True)


def test_the_light_of_lasers_that_stays(tmp_path):
    lasers = simulate_scipost(
        tmp_path / "in", seed=3, lambda_range=(6470.0, 6500.0), n_ifu=1, slices=4, columns=16, mode="WFM-AO-N"
    )
    frames = without(lasers.frames(), "RAMAN_LINES")
    flags, told = outcome("muse_scipost", frames, tmp_path / "a", skymethod="none")
    assert flags["CORRECTED RAMAN"] is False
    assert "no RAMAN_LINES, the light that the lasers make stays" in told
    with pytest.raises(RecipeError, match="no RAMAN_LINES"):
        outcome("muse_scipost", frames, tmp_path / "b", strict=True, skymethod="none")
    aside, told = outcome("muse_scipost", frames, tmp_path / "c", skymethod="none", lambdamax=6471.0)
    assert "CORRECTED RAMAN" not in aside
    assert "RAMAN" not in told
