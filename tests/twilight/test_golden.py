# SPDX-License-Identifier: BSD-3-Clause
"""Stored products of C muse_twilight 2.8.7: the model from its data cubes, the recipe in every mode."""

import json
import warnings

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import Defects, run_recipe
from muse_core.twilight.model import fit_twilight, white_image
from muse_core.twilight.vignetting import EdgeSmoothing, align_mask, nfm_mask
from tests.golden import golden_set
from tests.twilight.mini_calibrations import build

pytestmark = pytest.mark.golden
FOLDER = golden_set("twilight")
EVERY = 3  # of the planes of products every third pixel in both directions is stored
KEYS = {"vignsmooth": "method", "vignxpar": "xpar", "vignypar": "ypar", "vignmaskedges": "edge_limit"}


def stored(name):
    with fits.open(FOLDER / name, memmap=False) as hdus:  # an absolute path stays as it is
        return {h.name.lower(): np.array(h.data) for h in hdus if h.data is not None}


def thin(image):
    """The pixels of a plane or cube that are stored."""
    return image[..., ::EVERY, ::EVERY]


def vignetting_mask(shape):
    """The mask of the golden field set (a quarter disc in the upper right corner of 320 x 320 pixels)."""
    y, x = np.mgrid[1:321, 1:321]
    return align_mask(np.hypot(x - 310.4, y - 310.4) < 45, shape)


@pytest.mark.parametrize("name", ["mini_default", "field_vign", "nfm_default"])
def test_model_from_the_stored_cube(name):
    cube, expected = stored(f"{name}_DATACUBE_SKYFLAT.fits"), stored(f"{name}_TWILIGHT_CUBE.fits")
    shape = cube["white"].shape
    area = {"field_vign": vignetting_mask, "nfm_default": lambda s: nfm_mask(s, 22)}.get(name)
    narrow = name.startswith("nfm")
    mask = area(shape) if area else None
    model = fit_twilight(
        cube["data"],
        cube["white"],
        mask,
        narrow_field=narrow,
        defects=Defects.only("vignetting_mean_of_everything"),
    )
    assert np.array_equal(white_image(cube["data"]), cube["white"], equal_nan=True)
    # 0.3 % of the narrow-field values, where the quartic correction is small, differ by up to 3.3e-6
    limit = {"rtol": 5e-6 if narrow else 1e-6, "atol": 0}
    assert (np.abs(thin(model.planes) / expected["data"] - 1) > 1e-6).mean() < (0.004 if narrow else 1e-9)
    assert np.allclose(thin(model.planes), expected["data"], **limit)
    assert np.allclose(thin(model.global_fit), expected["white_global_fit"], **limit)
    assert np.allclose(thin(model.ratio), expected["white_div_global"], equal_nan=True, **limit)
    assert np.array_equal(thin(~model.good), expected["white_div_global_dq"] != 0)
    if area:
        edge = model.vignetting
        assert np.allclose(thin(edge.correction), expected["vign_fit"], **limit)
        assert np.allclose(thin(model.corrected), expected["white_cor"], equal_nan=True, **limit)
        assert np.array_equal(thin(~edge.region), expected["vign_fit_dq"] != 0)
        assert np.array_equal(thin(~edge.fit_region), expected["white_cor_dq"] != 0)


@pytest.mark.parametrize("name", ["novign", "median", "gauss", "noedge", "poly23", "order"])
def test_options_of_the_field_set(name):
    run = json.loads((FOLDER / "field_runs.json").read_text())[name]
    options = dict(text[2:].split("=") for text in run["options"])
    cube, expected = stored("field_vign_DATACUBE_SKYFLAT.fits"), np.load(FOLDER / f"field_{name}.npz")
    settings = {}
    for key, target in KEYS.items():
        if key in options:
            settings[target] = options[key] if key == "vignsmooth" else float(options[key])
    for key in ("xpar", "ypar"):
        if key in settings:
            settings[key] = int(settings[key])
    area = vignetting_mask(cube["white"].shape) if "vign" in run["inputs"] else None
    orders = {key: int(options.get(key, 2)) for key in ("xorder", "yorder")}
    model = fit_twilight(
        cube["data"],
        cube["white"],
        area,
        defects=Defects.only("vignetting_mean_of_everything"),
        smoothing=EdgeSmoothing(**settings),
        **orders,
    )
    assert np.allclose(thin(model.planes[2]), expected["twilight2"], rtol=1e-6)
    if "vign_fit" in expected:
        assert np.allclose(thin(model.vignetting.correction), expected["vign_fit"], rtol=1e-6)
    expected.close()


# --- the whole recipe, in every mode of the golden set ---

RUNS = json.loads((FOLDER / "mini_runs.json").read_text())
WORDS = json.loads((FOLDER / "mini_keywords.json").read_text())
# C's overscan polynomial of order 15 is off by 0.8 adu in a quadrant of IFU 1: 2e-6 in its flux, and with it
# (all IFUs are scaled to IFU 1) in all values of the cube. These runs do not use it:
EXACT = ("offset", "none", "ovfit", "ovnone", "median", "minmax")


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """The raw data that the C recipe was run on."""
    folder = tmp_path_factory.mktemp("mini")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(folder)
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_every_mode_of_the_mini_set(mini, tmp_path, name):
    run = RUNS[name]
    frames = [(mini / f"sky{i}.fits", "SKYFLAT") for i in range(3)]
    optional = {
        "illum": ("illum0", "ILLUM"),
        "dark": ("master_dark", "MASTER_DARK"),
        "bad": ("badpix", "BADPIX_TABLE"),
    }
    frames += [(mini / f"{stem}.fits", tag) for key, (stem, tag) in optional.items() if key in run["inputs"]]
    frames += [(mini / run["bias"], "MASTER_BIAS"), (mini / "master_flat.fits", "MASTER_FLAT")]
    frames += [(mini / "trace.fits", "TRACE_TABLE"), (mini / "wavecal.fits", "WAVECAL_TABLE")]
    frames += [(mini / "geo.fits", "GEOMETRY_TABLE")]
    options = dict(text[2:].split("=") for text in run["options"]) | {"compat": True}
    products = run_recipe("muse_twilight", frames, options, workdir=tmp_path, threads=2)
    cube, model = (stored(p.path) for p in products)
    expected = np.load(FOLDER / f"mini_{name}.npz")
    exact = name in EXACT
    for key in expected.files:
        stem = key.rstrip("0123456789")
        plane = key[len(stem) :]
        if stem in ("data", "stat"):
            new = cube[stem][int(plane)]
        else:
            new = model["data"][int(plane)] if stem == "twilight" else {**model, **cube}[key]
        new, old = thin(new), expected[key]
        assert np.array_equal(np.isnan(new), np.isnan(old)) or name == "rs_nearest", key
        difference = np.abs(new / old - 1)
        limit = 1e-6 if exact and stem != "stat" else 1e-5
        assert np.nanmean(difference > limit) <= (0 if exact else 0.005), key
        assert np.nanmedian(difference) < (2e-7 if exact else 5e-6), key
    words = WORDS[name]
    for tag, product in zip(("datacube", "twilight"), products, strict=True):
        head = fits.getheader(product.path)
        assert {k for k in head if k.startswith(("ESO QC", "ESO DRS"))} == {
            k for k in words[tag] if k.startswith(("ESO QC", "ESO DRS"))
        }
        for key, value in words[tag].items():
            if isinstance(value, str):
                assert head[key] == value
            elif "TWILIGHT1 INPUT1" in key or "TWILIGHT1 MASTER" in key:
                # the quadrant with the polynomial of order 15, up to 0.8 of 15000 counts
                assert head[key] == pytest.approx(value, rel=6e-5), key
            else:
                assert head[key] == pytest.approx(value, rel=1e-6 if exact else 2.1e-6), key
    expected.close()
