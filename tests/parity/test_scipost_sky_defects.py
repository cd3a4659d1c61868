# SPDX-License-Identifier: BSD-3-Clause
"""Each known defect of the sky, Raman and autocalibration steps: shown by C, repeated in compatible mode."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.simulate.scene import Scene
from muse_core.simulate.scipost import simulate_scipost
from muse_core.simulate.slice_errors import SliceErrors

pytestmark = pytest.mark.parity

FIELD = {"n_ifu": 2, "slices": 8, "columns": 24, "lambda_range": (6290.0, 6340.0), "line_error": 0.2}
LASERS = {"mode": "WFM-AO-N", "lambda_range": (6465.0, 6503.0), "raman": 20.0, "n_ifu": 1, "slices": 16}
MODEL = {"skymethod": "model", "save": "skymodel,individual", "rvcorr": "none"}
GIVEN = {"skymethod": "subtract-model", "save": "individual", "rvcorr": "none"}
TABLE = "PIXTABLE_REDUCED_0001.fits"


@dataclass
class Runs:
    """The inputs of an observation, and its reduction by C, by ours, and by ours in the compatible mode."""

    folder: Path
    frames: list[tuple[Path, str]]
    c_pipeline: object
    monkeypatch: pytest.MonkeyPatch

    def change(self, tag, edit):
        """Change copies of the frames of a tag."""
        for k, (path, name) in enumerate(self.frames):
            if name == tag:
                copy = Path(shutil.copy(path, self.folder / f"changed_{k}.fits"))
                with fits.open(copy, mode="update") as hdus:
                    edit(hdus)
                self.frames[k] = (copy, tag)

    def leave_out(self, tag, which=slice(None)):
        """Leave out frames of a tag (all of them, or some)."""
        gone = [frame for frame in self.frames if frame[1] == tag][which]
        self.frames = [frame for frame in self.frames if frame not in gone]

    def c(self, options):
        sof = self.folder / "in.sof"
        sof.write_text("".join(f"{path} {tag}\n" for path, tag in self.frames))
        self.c_pipeline.run(
            "muse_scipost", sof, self.folder / "c", *(f"--{k}={v}" for k, v in options.items())
        )
        return self.folder / "c"

    def ours(self, options, *, compat=False):
        self.monkeypatch.setenv("MUSE_RECIPES_COMPAT", str(int(compat)))
        folder = self.folder / ("compat" if compat else "ours")
        folder.mkdir()
        run_recipe("muse_scipost", self.frames, options, workdir=folder)
        return folder

    def assert_rows_as_c(self, options, rtol=1e-5, sigma=1e-4):
        """The rows of the compatible mode are those of the C recipe; return both folders."""
        c, compat = self.c(options), self.ours(options, compat=True)
        peer, mine = rows(c), rows(compat)
        np.testing.assert_array_equal(peer["lambda"], mine["lambda"])
        scale = np.sqrt(np.median(peer["stat"]))
        np.testing.assert_allclose(mine["data"], peer["data"], rtol=rtol, atol=sigma * scale)
        return c, compat


def rows(folder):
    with fits.open(folder / TABLE) as hdus:
        found = {name: hdus[name].data.ravel() for name in ("lambda", "data", "stat", "origin")}
    order = np.argsort(found["origin"].view(np.uint32), kind="stable")
    return {name: column[order] for name, column in found.items()}


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    made = {}

    def get(**changes):
        key = str(changes)
        if key not in made:
            made[key] = simulate_scipost(tmp_path_factory.mktemp("field"), seed=61, **{**FIELD, **changes})
        return made[key]

    return get


@pytest.fixture
def runs(c_pipeline, observation, tmp_path, monkeypatch):
    def make(**changes):
        return Runs(tmp_path, observation(**changes).frames(), c_pipeline, monkeypatch)

    return make


@pytest.mark.defect("darkest_spaxels_as_sky")
@pytest.mark.parametrize("method", ["simple", "model"])
def test_the_darkest_spaxels_are_taken_for_sky(method, runs):
    options = {**MODEL, "skymethod": method}
    made = runs(lsf="image", scene=Scene())
    made.leave_out("SKY_CONTINUUM")
    c, compat = made.assert_rows_as_c(options, rtol=1e-3, sigma=1e-2)
    ours = made.ours(options)
    left = [between_lines(rows(folder)) for folder in (c, compat, ours)]
    assert left[1] == pytest.approx(left[0], abs=0.01)
    assert left[0] > 3 * abs(left[2])  # noise has chosen the sky: too little was subtracted
    masks = [fits.getdata(folder / "SKY_MASK_0001.fits") for folder in (c, compat, ours)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert masks[2].sum() > 5 * masks[0].sum()


@pytest.mark.defect("slices_keep_residuals")
@pytest.mark.parametrize("method", ["simple", "model"])
def test_slices_that_err_keep_residuals_of_lines(method, runs):
    options = {**MODEL, "skymethod": method}
    made = runs(lsf="image", scene=Scene(), slice_errors=SliceErrors(ifu_shift=0.03, slice_shift=0.01))
    made.leave_out("SKY_CONTINUUM")
    c, compat = made.assert_rows_as_c(options, rtol=1e-3, sigma=1e-2)
    ours = made.ours(options)
    left = [on_lines(rows(folder)) for folder in (c, compat, ours)]
    assert left[1] == pytest.approx(left[0], rel=1e-3)
    assert left[2] < 0.5 * left[0]
    assert not list(compat.glob("SKY_REFINEMENT*"))
    assert fits.getheader(ours / TABLE)["ESO DRS MUSE SKY REFINE"] > 0


def on_lines(table):
    """How much of the means of slices is more than noise, on the flanks of the brightest line."""
    near = np.abs(np.abs(table["lambda"] - 6300.3) - 1.2) < 0.6
    key = table["origin"] & 0x7FF
    key = key * 2 + (table["lambda"] > 6300.3)
    excess = []
    for k in np.unique(key[near]):
        mine = near & (key == k)
        excess.append(np.mean(table["data"][mine]) ** 2 - np.sum(table["stat"][mine]) / mine.sum() ** 2)
    return np.mean(excess)


def between_lines(table):
    dark = np.abs(table["lambda"] - 6300.3) > 5.0
    return np.mean(table["data"][dark][np.abs(table["data"][dark]) < 5 * np.sqrt(table["stat"][dark])])


@pytest.mark.defect("sky_rows_by_old_numbers")
def test_sky_rows_are_taken_by_their_old_numbers(runs):
    made = runs(lsf="table", n_stars=6, brightness=3.0)
    made.leave_out("SKY_CONTINUUM")
    c, compat = made.assert_rows_as_c(MODEL, rtol=1e-3, sigma=1e-2)  # the fit ends where rounding leads it
    ours = made.ours(MODEL)
    level = [np.median(fits.getdata(f / "SKY_CONTINUUM_0001.fits")["flux"]) for f in (c, compat, ours)]
    assert level[1] == pytest.approx(level[0], rel=1e-5)
    assert level[0] > 1.01 * level[2]  # object light


@pytest.mark.defect("single_line_fit")
def test_lines_are_fitted_once(runs, monkeypatch):
    from muse_core.postproc.sky import line_fit

    made = runs(lsf="image")
    made.leave_out("SKY_CONTINUUM")
    count = []
    once = line_fit.fit_least_squares
    monkeypatch.setattr(line_fit, "fit_least_squares", lambda *a: count.append(1) or once(*a))
    c, compat = made.assert_rows_as_c(MODEL, rtol=1e-3, sigma=1e-2)  # the fit ends where rounding leads it
    assert len(count) == 1
    lines = [np.sort(fits.getdata(f / "SKY_LINES_0001.fits")["flux"]) for f in (c, compat)]
    np.testing.assert_allclose(lines[1], lines[0], rtol=1e-2)
    made.ours(MODEL)
    assert len(count) == 2 + line_fit.RESTARTS


@pytest.mark.defect("lsf_gaps_leave_lines")
def test_without_profile_lines_stay(runs):
    made = runs(lsf="image")
    made.leave_out("LSF_PROFILE", slice(0, 1))
    _, compat = made.assert_rows_as_c(GIVEN)
    table = rows(compat)
    ifu = (table["origin"] >> 6) & 0x1F
    near = np.abs(table["lambda"] - 6300.3) < 2.0
    without, with_profile = (np.median(table["data"][near & (ifu == i)]) for i in (12, 13))
    assert without > 5 * abs(with_profile)
    with pytest.raises(InputError, match="none for IFU 12"):
        made.ours(GIVEN)


@pytest.mark.defect("subtract_model_without_continuum")
def test_given_model_without_continuum(runs):
    made = runs(lsf="image")
    made.leave_out("SKY_CONTINUUM")
    _, compat = made.assert_rows_as_c(GIVEN)
    assert np.median(rows(compat)["data"]) > 20.0  # the continuum is still there
    with pytest.raises(InputError, match="SKY_CONTINUUM"):
        made.ours(GIVEN)


@pytest.mark.defect("continuum_extension_optional")
def test_continuum_without_its_extension(runs):
    made = runs(lsf="image")
    made.change("SKY_CONTINUUM", lambda hdus: hdus[1].header.update({"EXTNAME": "OTHER"}))
    _, compat = made.assert_rows_as_c(GIVEN)
    assert np.median(rows(compat)["data"]) > 20.0
    with pytest.raises(InputError, match="CONTINUUM"):
        made.ours(GIVEN)


@pytest.mark.defect("mask_misses_field")
def test_mask_beside_the_field(runs):
    simple = {**MODEL, "skymethod": "simple"}
    made = runs(lsf=None, sky_mask="pixel")
    made.change("SKY_MASK", lambda hdus: hdus[0].header.update({"CRVAL1": 5000.0}))
    made.assert_rows_as_c(simple)
    with pytest.raises(RecipeError, match="does not overlap the field"):
        made.ours(simple)


@pytest.mark.defect("sky_lines_out_of_range")
def test_no_line_in_the_range_of_the_data(runs):
    def in_nanometres(hdus):
        hdus[1].data["lambda"] /= 10.0

    made = runs(lsf="image", scene=Scene())
    made.leave_out("SKY_CONTINUUM")
    made.change("SKY_LINES", in_nanometres)
    made.assert_rows_as_c(MODEL)
    with pytest.raises(RecipeError, match="column lambda: expected wavelengths in Angstrom"):
        made.ours(MODEL)


@pytest.mark.defect("factors_by_row_number")
def test_factors_in_another_order(runs):
    def turn_round(hdus):
        hdus[1].data[:] = hdus[1].data[::-1].copy()

    options = {"skymethod": "none", "autocalib": "user", "save": "individual", "rvcorr": "none"}
    made = runs(lsf=None, autocal=True, throughput_error=0.05, scene=Scene())
    made.change("AUTOCAL_FACTORS", turn_round)
    _, compat = made.assert_rows_as_c(options)
    ours = made.ours(options)
    wrong, right = (slice_scatter(folder) for folder in (compat, ours))
    assert right < 0.3 * wrong


def slice_scatter(folder):
    table = rows(folder)
    dark = np.abs(table["lambda"] - 6300.3) > 4.0
    key = (table["origin"] & 0x7FF)[dark]
    labels, index = np.unique(key, return_inverse=True)
    level = [np.median(table["data"][dark][index == k]) for k in range(labels.size)]
    return np.std(level) / np.mean(level)


@pytest.mark.defect("raman_needs_lsf_images")
def test_raman_light_with_profile_tables(runs):
    options = {"skymethod": "none", "save": "individual", "rvcorr": "none", "skymodel_fraction": 0.7}
    made = runs(lsf="table", **LASERS)
    _, compat = made.assert_rows_as_c(options)
    ours = made.ours(options)
    light = [np.median(line_height(rows(folder))) for folder in (compat, ours)]
    assert light[0] > 4 * abs(light[1])


def line_height(table):
    near, beside = (np.abs(table["lambda"] - centre) < 1.0 for centre in (6484.4, 6470.0))
    return table["data"][near] - np.median(table["data"][beside])


@pytest.mark.defect("raman_images_without_unit")
def test_raman_images_have_no_unit(runs):
    options = {"skymethod": "none", "save": "raman,individual", "rvcorr": "none", "skymodel_fraction": 0.7}
    made = runs(lsf="image", **LASERS)
    folders = made.c(options), made.ours(options, compat=True), made.ours(options)
    units = [fits.getval(f / "RAMAN_IMAGES_0001.fits", "BUNIT", "RAMAN_IMAGE_O2") for f in folders]
    assert units[:2] == ["", ""]
    assert units[2].startswith("10**(-20)*erg")
