# SPDX-License-Identifier: BSD-3-Clause
"""Each known defect of muse_exp_align: the C recipe shows it, the compatible mode repeats it, we do not."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, run_recipe
from muse_core.simulate.fields import FieldPlan, simulate_fields, true_offsets
from tests.parity.test_exp_align import (
    BASE,
    across_zero,
    assert_same_run,
    build,
    run_both,
    strangers,
    whole_seconds,
)

pytestmark = pytest.mark.parity


@dataclass
class Runs:
    """Products of the three runs: C, ours, and ours in the compatible mode."""

    c: Path
    ours: Path

    def offsets(self, which):
        table = fits.getdata(which / "OFFSET_LIST.fits", 1)
        return np.column_stack([table["RA_OFFSET"], table["DEC_OFFSET"]]) * 3600.0

    def both(self, read):
        return read(self.c), read(self.ours)


@pytest.fixture
def runs(c_pipeline, tmp_path, monkeypatch):
    """Return a function that makes the three runs of a set; C and compatible products are compared."""
    monkeypatch.delenv("MUSE_RECIPES_COMPAT", raising=False)

    def make(change=None, params=None, **plan):
        frames = build(tmp_path / "in", change, **plan)
        assert_same_run(*run_both(c_pipeline, tmp_path, frames, params or {}, compat=True))
        (tmp_path / "ours").mkdir()
        run_recipe("muse_exp_align", frames, params, workdir=tmp_path / "ours")
        return Runs(tmp_path / "c", tmp_path / "ours")

    return make


@pytest.mark.defect("positions_one_pixel_low")
def test_positions_are_one_pixel_low(runs):
    made = runs(exposures=2)
    c, ours = made.both(lambda path: fits.getdata(path / "SOURCE_LIST_0001.fits", 1)["DEC"])
    np.testing.assert_allclose((c - ours) * 3600.0, -0.2, atol=1e-3)


@pytest.mark.defect("no_match_across_ra_zero")
def test_fields_across_right_ascension_zero_never_match(runs):
    made = runs(across_zero, centre=(0.0, 5.0), seed=1)
    c, ours = made.both(lambda path: fits.getheader(path / "OFFSET_LIST.fits")["ESO QC EXPALIGN NOMATCH"])
    assert c > 0
    assert ours == 0


@pytest.mark.defect("preview_cut")
def test_the_preview_of_a_rotated_first_exposure_is_cut(runs):
    made = runs(exposures=2, angles_deg=(30.0, 0.0))
    c, ours = made.both(lambda path: fits.getdata(path / "PREVIEW_FOV.fits", 1))
    assert min(c.shape) < 130 < min(ours.shape)
    assert np.isfinite(c).sum() < np.isfinite(ours).sum()


@pytest.mark.defect("coordinates_near_poles")
def test_offsets_near_a_pole_are_wrong(runs):
    # on the sky the errors of the headers are far below the radius of the search, in right ascension above it
    made = runs(exposures=2, centre=(150.0, 87.0), error_arcsec=6.0, seed=5)
    c, ours = made.both(made.offsets)
    assert np.hypot(*((c - ours)[1] * (np.cos(np.radians(87.0)), 1.0))) > 0.1


@pytest.mark.defect("unconnected_shifted")
def test_an_exposure_without_matches_is_shifted(runs):
    made = runs(strangers, {"rsearch": "5.,1."})
    c, ours = made.both(made.offsets)
    np.testing.assert_allclose(c[2], c[1] / 2.0, rtol=1e-6)
    assert c[2].any()
    assert not ours[2].any()


@pytest.mark.defect("offset_limit_without_cosine")
def test_an_exposure_is_left_out_of_the_preview_for_its_right_ascension(runs):
    def change(n, hdus):
        if n == 1:
            hdus[1].header["CRVAL1"] += 0.7

    made = runs(change, {"rsearch": "2600.,3.,0.8", "nbins": 1000}, exposures=2, centre=(10.0, 50.0))
    c, ours = made.both(lambda path: np.nansum(fits.getdata(path / "PREVIEW_FOV.fits", 1)))
    assert ours > 1.5 * c  # all stars once, and twice


@pytest.mark.defect("integer_exptime_is_zero")
def test_exposure_times_in_whole_seconds_are_zero(runs):
    made = runs(whole_seconds, {"expmap": "true"})
    c, ours = made.both(lambda path: np.nanmax(fits.getdata(path / "EXPOSURE_MAP.fits", 1)))
    assert c == 0.0
    assert ours == 2700.0


@pytest.mark.defect("bad_pixels_up_to_edge")
def test_bad_pixels_are_looked_for_up_to_the_edge_only(runs):
    def change(n, hdus):
        hdus[1].data[:, 100] = np.nan  # within 60 pixels of all sources that far from an edge

    made = runs(change, {"bpixdistance": 60.0, "srcmin": 2}, exposures=2, border=0)
    c, ours = made.both(lambda path: len(fits.getdata(path / "SOURCE_LIST_0001.fits", 1)))
    assert c > ours > 0


@pytest.mark.defect("no_confidence_keywords")
def test_nothing_tells_how_far_to_trust(runs):
    made = runs(exposures=2)
    c, ours = made.both(lambda path: "ESO QC EXPALIGN UNTRUSTED" in fits.getheader(path / "OFFSET_LIST.fits"))
    assert not c
    assert ours


@pytest.mark.defect("search_into_noise")
def test_the_search_goes_into_the_noise(runs):
    made = runs(stars=1, exposures=2, noise=(3.0,), faintest=500.0, brightest=501.0)
    c, ours = made.both(lambda path: len(fits.getdata(path / "SOURCE_LIST_0001.fits", 1)))
    assert c >= 4  # peaks near bad pixels are dropped after the search
    assert ours == 1


@pytest.mark.defect("empty_exposure_fatal")
def test_one_empty_exposure_ends_the_run(c_pipeline, tmp_path):
    frames = build(tmp_path / "in", lambda n, hdus: n == 1 and hdus[1].data.fill(0.0))
    sof = tmp_path / "set.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    assert c_pipeline.run("muse_exp_align", sof, tmp_path / "c", check=False).returncode == 255
    with pytest.raises(InputError, match="one value everywhere"):
        run_recipe("muse_exp_align", frames, {"compat": True}, workdir=tmp_path)
    assert len(run_recipe("muse_exp_align", frames, workdir=tmp_path)) == 4


@pytest.mark.defect("rotation_not_searched")
@pytest.mark.parametrize("turn", [0.4, 6.0])
def test_a_rotation_spoils_the_offset(runs, turn):
    plan = {"exposures": 2, "turn_deg": (0.0, turn)}
    made = runs(**plan)
    truth = true_offsets(simulate_fields(FieldPlan(**{**BASE, **plan}))) * 3600.0
    c, ours = made.both(lambda path: np.abs(made.offsets(path) - truth).max())
    assert c > 0.01
    assert ours < 0.005


@pytest.mark.defect("untrusted_offsets_written")
def test_an_offset_by_chance_is_written(runs):
    made = runs(lambda n, hdus: n == 1 and hdus[1].data.__setitem__(slice(None), hdus[1].data[::-1, ::-1]))
    c, ours = made.both(made.offsets)
    assert c[1].any()
    assert not ours[1].any()
    np.testing.assert_allclose(c[2], ours[2], atol=0.01)


@pytest.mark.defect("source_list_by_exact_mjd")
def test_source_lists_with_rounded_dates_are_not_found(c_pipeline, tmp_path):
    frames = build(tmp_path / "in", exposures=2)
    (tmp_path / "first").mkdir()
    for product in run_recipe("muse_exp_align", frames, workdir=tmp_path / "first"):
        if product.tag == "SOURCE_LIST":
            with fits.open(product.path, mode="update") as hdus:
                hdus[0].header["MJD-OBS"] = round(hdus[0].header["MJD-OBS"], 5) + 1e-6
            frames.append((product.path, "SOURCE_LIST"))
    sof = tmp_path / "set.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    options = {"override_detection": "true"}
    args = [f"--{key}={value}" for key, value in options.items()]
    assert c_pipeline.run("muse_exp_align", sof, tmp_path / "c", *args, check=False).returncode == 255
    with pytest.raises(InputError, match="one SOURCE_LIST with MJD-OBS"):
        run_recipe("muse_exp_align", frames, {**options, "compat": True}, workdir=tmp_path)
    assert run_recipe("muse_exp_align", frames, options, workdir=tmp_path)
