# SPDX-License-Identifier: BSD-3-Clause
"""The single steps (muse_scipost_*) beside the C recipes: random runs, and each known defect."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, run_recipe
from tests.parity.compare import assert_same_product
from tests.parity.single_steps import OBJECT, REDUCED, STEPS, compare_step, make_pool, run_both

pytestmark = pytest.mark.parity
PAIRS = 10
COLUMNS = ("xpos", "ypos", "lambda", "data", "dq", "stat", "origin")


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return make_pool(tmp_path_factory.mktemp("pool"))


@pytest.mark.parametrize("name", STEPS)
def test_random_runs_are_those_of_the_c_recipe(name, c_pipeline, pool, tmp_path):
    index = list(STEPS).index(name)
    for number in range(PAIRS):
        run = STEPS[name](pool, np.random.default_rng([7, index, number]))
        compare_step(c_pipeline, name, run, tmp_path / str(number))


def default(name, frames, options, folder):
    """Run a step in the default mode; return its products by name."""
    folder.mkdir()
    products = run_recipe(f"muse_scipost_{name}", frames, options, workdir=folder)
    return {product.path.name: product.path for product in products}


def one_pair(c_pipeline, name, frames, folder, **options):
    """Run a step; return its first product of C, of the compatible and of the default mode."""
    pairs = run_both(c_pipeline, name, (frames, options), folder)
    file, (reference, new) = next(iter(pairs.items()))
    return reference, new, default(name, frames, options, folder / "default")[file]


def changed(path, folder, **cards):
    """Return a copy of a table with other keywords in its header (None: without)."""
    folder.mkdir(exist_ok=True)
    copy = Path(shutil.copy(path, folder / path.name))
    with fits.open(copy, mode="update") as hdus:
        for key, value in cards.items():
            name = key.replace("__", " ")
            if value is None:
                del hdus[0].header[name]
            else:
                hdus[0].header[name] = value
    return copy


@pytest.mark.defect("history_lost", "predar_limits_rounded")
def test_chain_of_single_steps(c_pipeline, pool, tmp_path):
    """By default the chain gives the same bits as muse_scipost; C loses digits, and the history."""
    field = pool.fields["plain"]
    curves = pool.calibrations("plain", "EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC")
    wcs = pool.calibrations("plain", "ASTROMETRY_WCS")
    steps = (("combine_pixtables", []), ("correct_dar", []), ("calibrate_flux", curves), ("correct_rv", []))

    def chain(run):
        frames = field.frames(only=[OBJECT])
        for number, (name, calibrations) in enumerate((*steps, ("apply_astrometry", wcs))):
            path = run(name, [*frames, *calibrations], tmp_path / f"{run.__name__}_{number}")
            frames = [(path, OBJECT)]
        return frames[0][0]

    def of_c(name, frames, folder):
        reference, new = next(iter(run_both(c_pipeline, name, (frames, {}), folder).values()))
        assert_same_product(reference, new, ignore=("PIXTABLE LIMITS [XY] ",))
        return reference

    def ours(name, frames, folder):
        return next(iter(default(name, frames, {}, folder).values()))

    whole = {}
    for mode in (True, False):
        (tmp_path / f"whole_{mode}").mkdir()
        options = {"skymethod": "none", "save": "individual", "compat": mode}
        (product,) = run_recipe("muse_scipost", field.frames(), options, workdir=tmp_path / f"whole_{mode}")
        whole[mode] = product.path
    peer, mine = chain(of_c), chain(ours)
    with fits.open(mine) as step, fits.open(whole[False]) as full:
        for column in COLUMNS:
            np.testing.assert_array_equal(step[column].data, full[column].data, err_msg=column)
        assert step[0].header["ARCFILE"] == full[0].header["ARCFILE"]
        recipes = [step[0].header[f"ESO PRO REC{n} ID"] for n in range(1, 7)]
        assert recipes == [
            "muse_scibasic",
            *(f"muse_scipost_{name}" for name, _ in steps),
            "muse_scipost_apply_astrometry",
        ]
    with fits.open(peer) as step, fits.open(whole[True]) as full:
        for column in COLUMNS[2:]:
            np.testing.assert_array_equal(step[column].data, full[column].data, err_msg=column)
        assert (
            0.0 < np.abs(step["ypos"].data - full["ypos"].data).max() < 1e-9
        )  # [rad], digits of PREDAR LIMITS
        assert "ARCFILE" not in step[0].header
        assert step[0].header["ESO PRO REC1 ID"] == "muse_scipost_apply_astrometry"


@pytest.mark.defect("refraction_denied")
def test_refraction_of_corrected_tables_switched_off(c_pipeline, pool, tmp_path):
    frames = [(pool.tables["plain"]["dar"][0], OBJECT)]
    paths = one_pair(c_pipeline, "correct_dar", frames, tmp_path, lambdaref=-1.0)
    values = [fits.getval(path, "ESO DRS MUSE PIXTABLE DAR CORRECT") for path in paths]
    assert values == [-1.0, -1.0, 7000.0]


@pytest.mark.defect("limits_from_header", "cube_without_qc")
def test_grid_of_a_combined_table(c_pipeline, pool, tmp_path):
    frames = [(pool.tables["flat"]["all"][0], OBJECT)]
    paths = one_pair(c_pipeline, "make_cube", frames, tmp_path)
    shapes, crpix, qc = [], [], []
    for path in paths:
        with fits.open(path) as hdus:
            shapes.append(hdus["DATA"].shape)
            crpix.append(hdus["DATA"].header["CRPIX1"])
            qc.append(any(key.startswith("ESO QC") for key in hdus[0].header))
    assert shapes[0] == shapes[1]
    assert crpix[0] == pytest.approx(crpix[1], abs=1e-6)
    assert abs(crpix[2] - crpix[0]) > 0.1
    assert qc == [False, False, True]
    wrong = changed(
        frames[0][0], tmp_path / "wrong", **{"ESO__DRS__MUSE__PIXTABLE__LIMITS__X__LOW": 150.0985}
    )
    again = default("make_cube", [(wrong, OBJECT)], {}, tmp_path / "again")["DATACUBE_FINAL.fits"]
    with fits.open(again) as one, fits.open(paths[2]) as other:
        np.testing.assert_array_equal(one["DATA"].data, other["DATA"].data)


@pytest.mark.defect("limits_from_header")
def test_spectrum_of_the_flat_field_is_cut_by_the_header(c_pipeline, pool, tmp_path):
    frames = [(pool.tables["flat"]["flux"][0], "PIXTABLE_REDUCED"), (pool.spectra["flat"], "SKY_SPECTRUM")]
    paths = one_pair(c_pipeline, "subtract_sky_simple", frames, tmp_path)
    c, compatible, default = (fits.getdata(path, "PIXTABLE_FLAT_FIELD").size for path in paths)
    assert c == compatible > default


@pytest.mark.defect("first_table_only")
def test_a_cube_is_made_of_one_table(c_pipeline, pool, tmp_path):
    frames = [(path, OBJECT) for path in pool.tables["plain"]["ifu"]]
    for reference, new in run_both(c_pipeline, "make_cube", (frames, {}), tmp_path / "all").values():
        assert_same_product(reference, new)
    for reference, new in run_both(c_pipeline, "make_cube", (frames[:1], {}), tmp_path / "one").values():
        assert fits.getdata(new, "DATA").shape == fits.getdata(reference, "DATA").shape
    with pytest.raises(InputError, match=r"expected one pixel table, found 2 .*combine_pixtables"):
        default("make_cube", frames, {}, tmp_path / "default")


@pytest.mark.defect("run_ends_at_unfit_table")
@pytest.mark.parametrize(
    ("stage", "text"), [("merged", "FLUXCAL: expected calibrated"), ("gone", "SKYSUB: expected")]
)
def test_table_that_has_no_sky(stage, text, c_pipeline, pool, tmp_path):
    made = pool.tables["plain"]
    sky = pool.calibrations("plain", "LSF_PROFILE", "SKY_LINES", "SKY_CONTINUUM")
    unfit = made["merged"][0] if stage == "merged" else changed(
        made["flux"][0], tmp_path / "changed", **{"HIERARCH__ESO__DRS__MUSE__PIXTABLE__SKYSUB": True}
    )  # fmt: skip
    tables = [(made["ifu_flux"][0], REDUCED), (unfit, REDUCED), (made["ifu_flux"][1], REDUCED)]
    pairs = run_both(c_pipeline, "subtract_sky", ([*tables, *sky], {}), tmp_path)
    assert list(pairs) == ["PIXTABLE_REDUCED_0001.fits"]
    with pytest.raises(InputError, match=text):
        default("subtract_sky", [*tables, *sky], {}, tmp_path / "default")


@pytest.mark.defect("sky_partly_given")
@pytest.mark.parametrize("tag", ["SKY_LINES", "SKY_CONTINUUM"])
def test_sky_without_a_part(tag, c_pipeline, pool, tmp_path):
    sky = pool.calibrations("plain", *({"LSF_PROFILE", "SKY_LINES", "SKY_CONTINUUM"} - {tag}))
    frames = [(pool.tables["plain"]["flux"][0], REDUCED), *sky]
    for reference, new in run_both(c_pipeline, "subtract_sky", (frames, {}), tmp_path).values():
        assert_same_product(reference, new)
    with pytest.raises(InputError, match=f"input {tag}: expected a frame with this tag"):
        default("subtract_sky", frames, {}, tmp_path / "default")


@pytest.mark.defect("flat_level_of_first_table_ignored", "original_without_name")
def test_sky_of_ifus_at_different_levels(c_pipeline, pool, tmp_path):
    """The sky of the second IFU is scaled by its flat-field flux over that of the first one."""
    sky = pool.calibrations("plain", "LSF_PROFILE", "SKY_LINES", "SKY_CONTINUUM")
    frames = [*((path, REDUCED) for path in pool.tables["plain"]["ifu_flux"]), *sky]
    pairs = run_both(c_pipeline, "subtract_sky", (frames, {}), tmp_path)
    kept = default("subtract_sky", frames, {"orig": "before"}, tmp_path / "default")
    plain = default("subtract_sky", frames, {}, tmp_path / "plain")
    flux = [fits.getval(path, "ESO DRS MUSE FLAT FLUX SKY") for path, tag in frames if tag == REDUCED]
    for number, name in enumerate(sorted(pairs)):
        reference, new = pairs[name]
        assert_same_product(reference, new)
        with fits.open(new) as compat, fits.open(kept[name]) as ours, fits.open(plain[name]) as bare:
            assert [len(compat), len(ours), len(bare)] == [9, 9, 8]
            assert [compat[8].name, ours[8].name] == ["", "before"]
            skies = [(hdus[8].data - hdus["data"].data).ravel() for hdus in (compat, ours)]
            ratio = np.median(skies[1][skies[0] > 0] / skies[0][skies[0] > 0])
            assert ratio == pytest.approx(flux[number] / flux[0], rel=1e-5)
            np.testing.assert_array_equal(ours["data"].data, bare["data"].data)


@pytest.mark.defect("sky_of_any_unit")
def test_spectrum_in_another_unit_and_twice(c_pipeline, pool, tmp_path):
    spectrum = (pool.spectra["plain"], "SKY_SPECTRUM")
    counts = [(pool.tables["plain"]["merged"][0], REDUCED), spectrum]
    for reference, new in run_both(c_pipeline, "subtract_sky_simple", (counts, {}), tmp_path / "c").values():
        assert_same_product(reference, new)
    with pytest.raises(InputError, match=r"unit of data: expected 10\*\*\(-20\).*found count"):
        default("subtract_sky_simple", counts, {}, tmp_path / "counts")
    fluxes = [(pool.tables["plain"]["flux"][0], REDUCED), spectrum]
    (once,) = default("subtract_sky_simple", fluxes, {}, tmp_path / "once").values()
    with pytest.raises(InputError, match="SKYSUB: expected a table with its sky"):
        default("subtract_sky_simple", [(once, REDUCED), spectrum], {}, tmp_path / "twice")


@pytest.mark.defect("flagged_rows_lost")
def test_flagged_rows_of_the_raman_step(c_pipeline, pool, tmp_path):
    frames = [
        *((path, OBJECT) for path in pool.tables["ao"]["ifu"]),
        *pool.calibrations("ao", "RAMAN_LINES", "LSF_PROFILE"),
    ]
    pairs = run_both(c_pipeline, "raman", (frames, {}), tmp_path)
    ours = default("raman", frames, {}, tmp_path / "default")
    tables = [*pairs["PIXTABLE_REDUCED.fits"], ours["PIXTABLE_REDUCED.fits"]]
    flags = [fits.getdata(path, "dq").ravel() for path in tables]
    np.testing.assert_array_equal(flags[0], flags[1])
    assert not flags[0].any()
    assert np.count_nonzero(flags[2]) == flags[2].size - flags[0].size > 0
