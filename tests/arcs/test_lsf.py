# SPDX-License-Identifier: BSD-3-Clause
"""muse_lsf on simulated arcs: truth, products, what is told."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from scipy.special import ndtr

from muse_core.arcs.profile_image import clean_profile, profile_grid, widths
from muse_core.arcs.profile_rows import LineRows, ProfilePlan
from muse_core.framework import InputError, ParameterError, run_recipe
from muse_core.postproc.lsf.load import load_lsf
from muse_core.simulate.arcs import line_sigma
from tests.arcs.runs import IFU, changed_copy, make_set, one, replaced, run

CUBE = f"LSF_PROFILE-{IFU:02d}.fits"
PIXEL = 5100 / 4112  # Angstrom


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Slices of nine columns: a line needs a hundred pixels."""
    return make_set(tmp_path_factory.mktemp("wide"), nx=256)


@pytest.fixture(scope="module")
def made(wide, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    run_recipe(
        "muse_lsf",
        wide.also("WAVECAL_TABLE"),
        {"save_subtracted": True},
        workdir=folder,
        threads=1,
        report=True,
    )
    return folder


def true_profile(offsets, lam, s):
    sigma = float(line_sigma(lam, s))
    return (ndtr((offsets + PIXEL / 2) / sigma) - ndtr((offsets - PIXEL / 2) / sigma)) / PIXEL


def test_profiles_are_the_true_ones(made):
    with fits.open(made / CUBE) as hdus:
        cube, header = hdus["LSF_PROFILE"].data, hdus["LSF_PROFILE"].header
        primary = hdus[0].header
    assert cube.shape == (48, 30, 150)
    assert header["CRVAL1"] == -7.5
    np.testing.assert_allclose(cube.sum(axis=2) * header["CD1_1"], 1, atol=1e-5)
    offsets = header["CRVAL1"] + header["CD1_1"] * np.arange(150)
    off = []
    for s in range(48):
        for k in range(3, 27):
            true = true_profile(offsets, 4650 + k * header["CD2_2"], s)
            off.append(np.sqrt(np.mean((cube[s, k] - true) ** 2)) / true.max())
    assert np.median(off) < 0.006
    assert primary["ESO QC LSF SLICE9 FWHM MEAN"] == pytest.approx(2.53, abs=0.1)


def test_our_scipost_reads_it(made):
    lsf = load_lsf([made / CUBE])
    assert lsf.ifus == (IFU,)


def test_lines_are_gone_from_the_rows(made):
    with fits.open(made / f"PIXTABLE_SUBTRACTED-{IFU:02d}.fits") as hdus:
        columns = {hdu.name.lower(): hdu.data.ravel() for hdu in hdus[1:]}
        assert hdus[0].header["ESO DRS MUSE PIXTABLE TYPE"] == "SIMPLE"
    bright = columns["line_flux"] > 10000
    left = columns["data"][bright] - columns["line_background"][bright]
    before = columns["orig"][bright] - columns["line_background"][bright]
    # the outer columns of a slice see less of the line than its mean
    assert np.median(np.abs(left)) < 0.05 * np.sqrt(np.mean(before**2))


def test_page(made):
    text = (made / "muse_lsf_report.html").read_text()
    for words in ("Line width 2.5", "Profiles", "FWHM mean"):
        assert words in text


def test_merged_is_the_same(wide, made, tmp_path):
    merged = run("muse_lsf", wide.also("WAVECAL_TABLE"), tmp_path / "merged", merge=True)
    np.testing.assert_array_equal(
        fits.getdata(merged["LSF_PROFILE.fits"], f"CHAN{IFU:02d}.LSF_PROFILE"), fits.getdata(made / CUBE)
    )


@pytest.mark.parametrize("recipe", ["muse_wavecal", "muse_lsf"])
def test_one_ifu_has_a_file_of_its_own(recipe, wide, tmp_path):
    """With ``merge``, too, as the C recipes have it."""
    frames = wide.also("WAVECAL_TABLE") if recipe == "muse_lsf" else wide.frames
    (name,) = run(recipe, frames, tmp_path / "out", merge=True, nifu=IFU)
    assert name.endswith(f"-{IFU:02d}.fits")


@pytest.mark.parametrize(
    ("tag", "lost"), [("TRACE_TABLE", "trace"), ("WAVECAL_TABLE", "wavelength solution")]
)
def test_a_failed_slice_keeps_the_others_in_place(wide, made, tmp_path, caplog, tag, lost):
    def lose(hdus):
        for name in hdus[1].columns.names:
            hdus[1].data[name][4] = 0 if name == "SliceNo" else np.nan

    frames = wide.also("WAVECAL_TABLE")
    table = one(frames, tag)
    products = run(
        "muse_lsf", replaced(frames, table, changed_copy(table, tmp_path / "in", lose)), tmp_path / "out"
    )
    new, old = fits.getdata(products[CUBE]), fits.getdata(made / CUBE)
    assert (new[4] == 0).all()
    np.testing.assert_array_equal(np.delete(new, 4, axis=0), np.delete(old, 4, axis=0))
    assert f"slice 5 of IFU 2: no profile: its {lost} is missing" in caplog.text


def test_what_is_refused(wide, arcs, tmp_path):
    frames = wide.also("WAVECAL_TABLE")
    with pytest.raises(ParameterError, match="method=hermit: not available"):
        run("muse_lsf", frames, tmp_path / "out", method="hermit")
    without = [frame for frame in frames if frame[1] != "ARC"]
    with pytest.raises(InputError, match="ARC"):
        run("muse_lsf", without, tmp_path / "out")


def test_hits_are_left_out():
    rng = np.random.default_rng(2)
    line = np.repeat(np.linspace(4800, 9300, 40), 300)
    offset = rng.uniform(-8.2, 8.2, line.size)
    z = true_profile(offset, 7000.0, 0)
    data = 15 + 4000 * z
    data[1000] += 3000
    columns = [line + offset, data, data + 1]
    rows = LineRows(
        *(values.astype(np.float32) for values in columns), np.ones(line.size, np.int32),
        line.astype(np.float32), np.full(line.size, 4000, np.float32), np.full(line.size, 15, np.float32),
    )  # fmt: skip
    plan = ProfilePlan()
    grid = profile_grid(plan)
    image, left, failed = clean_profile(rows, grid, plan)
    assert len(left) == len(rows) - 1
    assert failed == 0
    np.testing.assert_allclose(image[15], true_profile(grid.offsets, 7000.0, 0), atol=0.01)
    np.testing.assert_allclose(widths(image, grid.step), 2.5, atol=0.1)
