# SPDX-License-Identifier: BSD-3-Clause
"""muse_dark: hot pixels, and the recipe on simulated darks with their truth."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.detector.image import Image
from muse_core.detector.quadrants import Quadrant
from muse_core.framework import InputError, ParameterError, RecipeError, run_recipe
from muse_core.masters.dark import flag_hot_pixels
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.raw_masters import simulate_masters

SETUP = RawSetup(seed=5, nx=96, ny=64, ifus=(1, 2), cosmics=15)
OPTIONS = {"overscan": "vpoly:3", "ovscreject": "none"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return simulate_masters(tmp_path_factory.mktemp("dark"), SETUP, biases=0, flats=())


@pytest.fixture(scope="module")
def frames(made):
    return made.frames("DARK", "MASTER_BIAS", "BADPIX_TABLE")


def test_hot_pixels():
    rng = np.random.default_rng(1)
    quadrant = Quadrant(1, False, False, 50, 40, (32, 32), (32, 32), (208, 228), 1.1, 3.0)
    image = Image.empty((80, 100))
    image.data[...] = rng.normal(1, 1, (80, 100))
    image.dq[...] = 0
    image.data[3, 4], image.data[5, 6], image.data[7, 8] = 50, 60, -90
    image.dq[5, 6] = image.dq[7, 8] = 2
    assert flag_hot_pixels(image, [quadrant], 8.0) == 3
    assert (image.dq[3, 4], image.dq[5, 6], image.dq[7, 8]) == (0x100, 0x102, 0x2002)
    assert np.count_nonzero(image.dq) == 3


def test_recipe_finds_hot_pixels_and_current(made, frames, tmp_path):
    products = run_recipe("muse_dark", frames, OPTIONS, workdir=tmp_path, threads=2, report=True)
    assert [p.path.name for p in products] == ["MASTER_DARK-01.fits", "MASTER_DARK-02.fits"]
    with fits.open(products[0].path) as hdus:
        header, flags = hdus[0].header, hdus["DQ"].data
    assert header["EXPTIME"] == 3600.0
    # the level and its glow of `dark_signal`
    assert header["ESO QC DARK MASTER DC"] == pytest.approx(1.3, abs=0.4)
    wrong = fits.getdata(made.truth, "CHAN01.WRONG")
    hot = wrong[(wrong["kind"] == "hot") & (wrong["value"] > 150)]
    found = flags[hot["first"], hot["x"]] & 0x100 != 0
    assert found.mean() > 0.9
    assert "dark current" in (tmp_path / "muse_dark_report.html").read_text()


def test_an_ifu_that_fails_leaves_the_others_alone(frames, tmp_path, caplog):
    """A master bias of one IFU only: the other one is made, and the products say that one is missing."""
    bias = next(path for path, tag in frames if tag == "MASTER_BIAS")
    other = tmp_path / "bias.fits"
    with fits.open(bias) as hdus:
        fits.HDUList([hdu for hdu in hdus if not hdu.name.startswith("CHAN01")]).writeto(other)
    changed = [(other if path == bias else path, tag) for path, tag in frames]
    products = run_recipe("muse_dark", changed, OPTIONS, workdir=tmp_path)
    assert [(p.path.name, p.complete) for p in products] == [("MASTER_DARK-02.fits", False)]
    assert "IFU 1: no product" in caplog.text
    assert "1 of 2 IFUs failed, see above: 1" in caplog.text


def test_time_of_the_first_dark(frames, tmp_path):
    run_recipe("muse_dark", frames, OPTIONS | {"normalize": -1.0, "nifu": 2}, workdir=tmp_path)
    run_recipe("muse_dark", frames, OPTIONS | {"merge": True}, workdir=tmp_path)
    with (
        fits.open(tmp_path / "MASTER_DARK-02.fits") as own,
        fits.open(tmp_path / "MASTER_DARK.fits") as merged,
    ):
        assert own[0].header["EXPTIME"] == 1800.0 and merged[0].header["EXPTIME"] == 3600.0
        np.testing.assert_allclose(merged["CHAN02.DATA"].data, 2 * own["DATA"].data, rtol=1e-6)
        # the windows are the same ones, whatever the IFUs of the run
        key = "ESO QC DARK MASTER DC"
        assert merged["CHAN02.DATA"].header[key] == pytest.approx(own[0].header[key], rel=1e-6)


def test_model_is_refused(frames, tmp_path):
    with pytest.raises(ParameterError, match="model=true: a MODEL_DARK is not made here"):
        run_recipe("muse_dark", frames, OPTIONS | {"model": True}, workdir=tmp_path)


def test_dark_without_exposure_is_refused(frames, tmp_path):
    path = tmp_path / "zero.fits"
    with fits.open(frames[0][0]) as hdus:
        hdus[0].header["EXPTIME"] = 0.0
        hdus.writeto(path)
    with pytest.raises(RecipeError, match=r"zero.fits: EXPTIME: expected a positive time, found 0.0"):
        run_recipe("muse_dark", [(path, "DARK"), *frames[1:]], OPTIONS, workdir=tmp_path)
    assert not list(tmp_path.glob("MASTER*"))


def test_bias_is_required(frames, tmp_path):
    without = [frame for frame in frames if frame[1] != "MASTER_BIAS"]
    with pytest.raises(InputError, match="MASTER_BIAS"):
        run_recipe("muse_dark", without, OPTIONS, workdir=tmp_path)
