# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_align beside the C recipe: same images and options, products compared with all their keywords."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.tangent_plane import TanWcs
from muse_core.framework import RecipeError, run_recipe
from muse_core.simulate.fields import FieldPlan, field_hdus, simulate_fields
from tests.parity.compare import assert_same_product

pytestmark = pytest.mark.parity
BASE = {
    "exposures": 3,
    "shape": (130, 141),
    "stars": 30,
    "dither_arcsec": 0.7,
    "error_arcsec": 0.7,
    "seed": 21,
}


def build(folder, change=None, **plan):
    """Write images and a set of frames; ``change(n, hdus)`` may spoil them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for image in simulate_fields(FieldPlan(**{**BASE, **plan})):
        hdus = field_hdus(image)
        hdus[0].header["ARCFILE"] = f"MUSE.{image.date}.fits"
        if change:
            change(image.number, hdus)
        path = folder / f"fov_{image.number + 1}.fits"
        hdus.writeto(path, overwrite=True)
        lines.append((path, "IMAGE_FOV"))
    return lines


def run_both(c_pipeline, tmp_path, frames, params, **ours_only):
    sof = tmp_path / "set.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    theirs, ours = tmp_path / "c", tmp_path / "py"
    ours.mkdir(exist_ok=True)
    options = [f"--{name}={value}" for name, value in params.items()]
    c_pipeline.run("muse_exp_align", sof, theirs, *options)
    run_recipe("muse_exp_align", frames, {**params, **ours_only}, workdir=ours)
    return theirs, ours


def assert_same_run(theirs, ours):
    names = sorted(path.name for path in theirs.glob("*.fits"))
    assert names == sorted(path.name for path in ours.glob("*.fits"))
    assert len(names) >= 4
    for name in names:
        # text, numbers and images to 1e-9 and better; QC values are printed with seven digits
        assert_same_product(theirs / name, ours / name, rtol=1e-9, nsigma=0.0, fraction=0.0)
        with fits.open(theirs / name) as a, fits.open(ours / name) as b:
            new = [key for key in b[0].header if key not in a[0].header and key != "DATAMD5"]
            assert [b[0].header[key] for key in new] == ["compat", "true"], name  # one parameter of ours
            if name.startswith(("PREVIEW", "EXPOSURE")):
                np.testing.assert_array_equal(a[1].data, b[1].data)
            if name == "OFFSET_LIST.fits":
                for column in ("RA_OFFSET", "DEC_OFFSET"):
                    assert np.abs(a[1].data[column] - b[1].data[column]).max() * 3600 < 1e-8


def add_history(n, hdus):
    for key, value in (
        ("ESO DPR CATG", "SCIENCE"),
        ("ESO QC FOO", 1.25),
        ("ESO DRS MUSE BAR", 3),
        ("ESO TEL AIRM START", 1.1),
        ("ESO OBS NAME", "field"),
        ("ESO PRO REC1 ID", "muse_scipost"),
        ("ESO PRO REC1 RAW1 NAME", f"PIXTABLE_{n}.fits"),
    ):
        hdus[0].header[f"HIERARCH {key}"] = value
    hdus[0].header["FREEKEY"] = "kept in images"
    hdus[1].header["HIERARCH ESO TEL IA FWHM"] = 0.7


def add_flags(n, hdus):
    rng = np.random.default_rng(n)
    flags = np.where(
        rng.uniform(size=hdus[1].data.shape) < 5e-4, 1 << rng.integers(0, 31, hdus[1].data.shape), 0
    )
    hdus.append(fits.ImageHDU(flags.astype(np.int32), name="DQ"))


def keyword_in_both_headers(n, hdus):
    for group in ("INS", "QC", "DRS MUSE", "TEL", "ABC", "LGS1"):
        for hdu, text in zip(hdus, ("primary", "extension"), strict=False):
            hdu.header[f"HIERARCH ESO {group} FOO"] = f"{text} {n}"


def whole_seconds(n, hdus):
    hdus[0].header["EXPTIME"] = 900
    del hdus[0].header["ARCFILE"]  # with it the C recipe trips over its own error and fails


def across_zero(n, hdus):
    hdus[1].header["CRVAL1"] = hdus[1].header["CRVAL1"] % 360.0


def strangers(n, hdus):
    """Let the third exposure match nothing: the first bin of the second radius is empty for it."""
    if n == 2:
        hdus[1].header["CRVAL1"] += 0.05


SETS = {
    "default": ({}, None, {}),
    "expmap": ({"exptime": (900.0, 300.0)}, None, {"expmap": "true"}),
    "rotated": ({"angles_deg": (25.0, 0.0, 200.0), "centre": (10.0, 61.0)}, None, {"expmap": "true"}),
    "narrow": ({"mode": "NFM", "dither_arcsec": 0.1, "error_arcsec": 0.1}, None, {"rsearch": "3.,0.5,0.2"}),
    "threshold in deviations": (
        {"sky": 20.0},
        None,
        {"threshold": "-25", "bkgignore": "0.1", "bkgfraction": "0.4"},
    ),
    "search": ({}, None, {"threshold": "700", "step": "50", "srcmin": "6", "srcmax": "9", "weight": "false"}),
    "shapes": (
        {},
        None,
        {"fwhm": "3.1", "sharpmin": "0.35", "sharpmax": "0.7", "roundmin": "-0.2", "roundmax": "0.25"},
    ),
    "wide kernel": ({"fwhm_pix": (7.0, 9.0)}, None, {"fwhm": "11", "srcmin": "2", "bpixdistance": "0"}),
    "history": ({"exposures": 2}, add_history, {}),
    "keyword in both headers": ({"exposures": 2}, keyword_in_both_headers, {}),
    "sum of times": ({"exptime": (900.1, 300.7, 0.3)}, None, {"expmap": "true"}),
    # an even number of sky pixels: their median is rounded to float32 before the deviations are taken
    "bright sky": ({"sky": 20.0, "noise": (0.05, 1.0)}, None, {"bkgignore": "0.5", "bkgfraction": "0.05"}),
    # reference pixels of the preview with the rounding errors of the C recipe
    "rounding": (
        {"mode": "NFM", "dither_arcsec": 0.4, "error_arcsec": 0.01, "seed": 11, "centre": (150.1, 0.6)},
        None,
        {},
    ),
    "flags": ({"exposures": 2, "border": 0}, add_flags, {"bpixdistance": "2.5", "srcmax": "200"}),
    "one radius": ({}, None, {"rsearch": "7", "nbins": "35"}),
    "whole seconds": ({}, whole_seconds, {"expmap": "true"}),
    "across right ascension zero": ({"centre": (0.0, 5.0)}, across_zero, {}),
    "stranger": ({}, strangers, {"rsearch": "5.,1."}),
    "many": ({"exposures": 9, "noise": (1.0, 3.0), "fwhm_pix": (3.5, 4.0, 5.0)}, None, {}),
}


@pytest.mark.parametrize("name", SETS)
def test_products_equal_those_of_the_c_recipe(c_pipeline, compat, tmp_path, name):
    plan, change, params = SETS[name]
    frames = build(tmp_path / "in", change, **plan)
    assert_same_run(*run_both(c_pipeline, tmp_path, frames, params))


def test_source_lists_of_one_are_read_by_the_other(c_pipeline, compat, tmp_path):
    frames = build(tmp_path / "in")
    theirs, _ = run_both(c_pipeline, tmp_path, frames, {})
    lists = []
    for n in (1, 2, 3):
        path = tmp_path / "in" / f"sources_{n}.fits"
        path.write_bytes((theirs / f"SOURCE_LIST_{n:04d}.fits").read_bytes())
        lists.append((path, "SOURCE_LIST"))
    again = tmp_path / "again"
    again.mkdir()
    params = {"override_detection": "true", "rsearch": "10.,2.,0.4"}
    assert_same_run(*run_both(c_pipeline, again, [*frames, *lists[::-1]], params))


def test_identical_images(c_pipeline, compat, tmp_path):
    image = simulate_fields(FieldPlan(**{**BASE, "exposures": 1}))[0]
    frames = []
    for n in range(3):
        moved = replace(image, number=n)
        if n == 2:
            (ra, dec), cd = image.wcs.crval, image.wcs.cd
            moved = replace(moved, wcs=TanWcs(image.wcs.crpix, (ra + 2e-4, dec), cd))
        path = tmp_path / f"same_{n}.fits"
        field_hdus(moved).writeto(path)
        frames.append((path, "IMAGE_FOV"))
    assert_same_run(*run_both(c_pipeline, tmp_path, frames, {}))


def remove(key, ext=0):
    def change(n, hdus):
        if n == 1:
            hdus[ext].header.remove(key)

    return change


def fill(value):
    def change(n, hdus):
        if n == 1:
            hdus[1].data[:] = value

    return change


REFUSED = {
    "all NaN": (fill(np.nan), {}),
    "blank": (fill(0.0), {}),
    "no MJD-OBS": (remove("MJD-OBS"), {}),
    "no DATE-OBS": (remove("DATE-OBS"), {}),
    "no projection": (remove("CTYPE1", 1), {}),
    "too many wanted": (None, {"srcmin": "70"}),
    "near bad pixels": (None, {"bpixdistance": "300"}),
    "kernel too small": (None, {"fwhm": "0.6"}),
    "no exposure time": (remove("EXPTIME"), {"expmap": "true"}),
    "crossed limits": (None, {"sharpmin": "0.9", "sharpmax": "0.8"}),
    "one bin": (None, {"nbins": "1"}),
    "no radius": (None, {"rsearch": ","}),
    "negative distance": (None, {"bpixdistance": "-1"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_c_recipe_refuses_is_refused(c_pipeline, compat, tmp_path, name):
    change, params = REFUSED[name]
    frames = build(tmp_path / "in", change)
    sof = tmp_path / "set.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    options = [f"--{key}={value}" for key, value in params.items()]
    result = c_pipeline.run("muse_exp_align", sof, tmp_path / "c", *options, check=False)
    assert result.returncode == 255
    with pytest.raises(RecipeError):
        run_recipe("muse_exp_align", frames, params, workdir=tmp_path)
    assert not list(tmp_path.glob("*.fits"))
