# SPDX-License-Identifier: BSD-3-Clause
"""Units in the headers: the spelling of the C recipes, ours, and one recipe on the products of the other."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.framework.unit_spelling import readable
from muse_core.simulate.scipost import simulate_scipost
from tests.framework.test_unit_spelling import units
from tests.parity.compare import option_text

pytestmark = pytest.mark.parity

OPTIONS = {"skymethod": "simple", "save": "cube,individual", "filter": "white"}


@pytest.fixture(scope="module")
def runs(c_pipeline, tmp_path_factory):
    """Folders with products of the C recipe, of the compatible mode, and of the default, of two exposures."""
    folder = tmp_path_factory.mktemp("units")
    simulation = simulate_scipost(
        folder / "in",
        seed=6,
        n_ifu=1,
        n_exposures=2,
        slices=8,
        lambda_range=(6285.0, 6330.0),
        offsets=((0.0, 0.0), (0.5, -0.3)),
        sky_mask="pixel",
    )
    for name, settings in (("compat", {"compat": True}), ("ours", {})):
        (folder / name).mkdir()
        run_recipe("muse_scipost", simulation.frames(), {**OPTIONS, **settings}, workdir=folder / name)
    sof = simulation.write_sof(folder / "in.sof")
    c_pipeline.run("muse_scipost", sof, folder / "c", *option_text(OPTIONS))
    return folder


@pytest.mark.defect("unreadable_units")
def test_spelling_of_c_is_restored_and_ours_is_read(runs):
    refused = 0
    for path in sorted((runs / "c").glob("*.fits")):
        c, compat, ours = (units(runs / name / path.name) for name in ("c", "compat", "ours"))
        assert compat == c
        if path.name.startswith("PIXTABLE"):
            assert ours == c
            continue
        assert ours == {key: readable(text) for key, text in c.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for key, text in ours.items():
                u.Unit(text)
                try:
                    u.Unit(c[key])
                except ValueError:
                    refused += 1
    assert refused >= 1


def combined(c_pipeline, tables, folder):
    """Cubes that the C recipe, and ours, make of some tables."""
    folder.mkdir()
    (folder / "in.sof").write_text("".join(f"{path} PIXTABLE_REDUCED\n" for path in tables))
    c_pipeline.run("muse_exp_combine", folder / "in.sof", folder / "c")
    (folder / "ours").mkdir()
    frames = [(path, "PIXTABLE_REDUCED") for path in tables]
    run_recipe("muse_exp_combine", frames, {"compat": True}, workdir=folder / "ours")
    return [fits.getdata(folder / name / "DATACUBE_FINAL.fits") for name in ("c", "ours")]


def test_either_recipe_combines_tables_of_both(c_pipeline, runs, tmp_path):
    first, second = (f"PIXTABLE_REDUCED_000{n}.fits" for n in (1, 2))
    pure, _ = combined(c_pipeline, [runs / "c" / first, runs / "c" / second], tmp_path / "pure")
    c, ours = combined(c_pipeline, [runs / "c" / first, runs / "ours" / second], tmp_path / "mixed")
    assert c.shape == ours.shape
    assert c.shape[1] >= pure.shape[1]  # less: a table is lost; ours may lie better
    assert np.array_equal(np.isfinite(c), np.isfinite(ours))
    assert np.nanmax(np.abs(c - ours)) <= 1e-5 * np.nanmax(np.abs(c))


def test_tables_of_another_spelling_are_lost_in_c_and_read_by_ours(c_pipeline, runs, tmp_path):
    """Why pixel tables keep the spelling of C: it leaves out the second table of this pair."""
    tables = [runs / "c" / f"PIXTABLE_REDUCED_000{n}.fits" for n in (1, 2)]
    both, _ = combined(c_pipeline, tables, tmp_path / "both")
    other = tmp_path / "PIXTABLE_REDUCED_0002.fits"
    other.write_bytes(tables[1].read_bytes())
    for extension, text in (("data", units(other)["data", "BUNIT"]), ("stat", units(other)["stat", "BUNIT"])):
        fits.setval(other, "BUNIT", value=readable(text), extname=extension)
    c, ours = combined(c_pipeline, [tables[0], other], tmp_path / "spelled")
    assert ours.shape == both.shape
    assert c.shape[1] < both.shape[1]


def test_c_reads_our_continuum_of_the_sky(c_pipeline, tmp_path):
    """The unit of SKY_CONTINUUM is no matter to C: the same data with the unit of ours and with its own."""
    simulation = simulate_scipost(tmp_path / "in", seed=5, n_ifu=1, slices=8, lambda_range=(6285.0, 6330.0))
    frames = simulation.frames(without=("SKY_CONTINUUM",))
    tables = []
    for name, options in (("right", {}), ("compat", {"compat": True})):
        (tmp_path / name).mkdir()
        options = {"skymethod": "model", "save": "skymodel", **options}
        run_recipe("muse_scipost", frames, options, workdir=tmp_path / name)
        made = tmp_path / name / "SKY_CONTINUUM_0001.fits"
        if name == "compat":
            other = units(made)["CONTINUUM", "TUNIT2"]
            made = tmp_path / "right" / "SKY_CONTINUUM_0001.fits"
            fits.setval(made, "TUNIT2", value=other, ext=1)
        sof = tmp_path / f"{name}.sof"
        sof.write_text("".join(f"{path} {tag}\n" for path, tag in [*frames, (made, "SKY_CONTINUUM")]))
        out = tmp_path / name / "c"
        c_pipeline.run("muse_scipost", sof, out, "--skymethod=model", "--save=individual")
        tables.append(fits.getdata(out / "PIXTABLE_REDUCED_0001.fits", "data"))
    assert other == "erg/(s cm^2 arcsec^2)"
    assert np.array_equal(tables[0], tables[1], equal_nan=True)
