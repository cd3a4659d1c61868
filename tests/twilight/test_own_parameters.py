# SPDX-License-Identifier: BSD-3-Clause
"""Parameters that the C recipe knows as environment variables only."""

import numpy as np
import pytest

from muse_core.framework import RecipeError, run_recipe
from tests.twilight.conftest import frames_of
from tests.twilight.recipe_runs import data_of, edited, keywords, run


@pytest.mark.unit
def test_external_scales_belong_to_the_data(tiny, tmp_path, monkeypatch, caplog):
    frames = frames_of(tiny)
    plain = run(frames, tmp_path)["DATACUBE_SKYFLAT"]
    words, data = keywords(plain), data_of(plain)["data"].copy()
    monkeypatch.setenv("MUSE_TWILIGHT_SCALES", "1.5,1.4")
    with caplog.at_level("WARNING"):
        assert np.array_equal(
            data_of(run(frames, tmp_path)["DATACUBE_SKYFLAT"])["data"], data, equal_nan=True
        )
    assert "MUSE_TWILIGHT_SCALES must hold 24 values" in caplog.text
    fluxes = [words.get(f"ESO DRS MUSE FLAT FLUX SKY{i}", 0) for i in range(1, 25)]
    monkeypatch.setenv("MUSE_TWILIGHT_SCALES", ",".join(repr((f or 1) / fluxes[0] * 2) for f in fluxes))
    doubled = run(frames, tmp_path)["DATACUBE_SKYFLAT"]
    assert np.allclose(data_of(doubled)["data"] * 2, data, rtol=1e-6, equal_nan=True)
    for i, flux in enumerate(fluxes, 1):
        if flux:
            ratio = (
                keywords(doubled)[f"ESO DRS MUSE FLAT FLUX SKY{i}"]
                / keywords(doubled)["ESO DRS MUSE FLAT FLUX SKY1"]
            )
            assert ratio == pytest.approx(flux / fluxes[0])
    monkeypatch.setenv("MUSE_TWILIGHT_SCALES", ",".join(["1.0"] * 23 + ["x"]))
    with pytest.raises(RecipeError, match="parameter scales: 'x'"):
        run(frames, tmp_path)


@pytest.mark.unit
def test_model_of_a_stored_cube_has_its_page_and_warnings(tiny, tmp_path, caplog):
    """A plane without data is told; a cube of another mode, or without coordinates, is refused."""

    def hole(hdus):
        hdus["DATA"].data[2] = np.nan

    frames = frames_of(tiny)
    cube = run(frames, tmp_path)["DATACUBE_SKYFLAT"]
    stored = edited(cube, tmp_path / "stored.fits", hole)
    (tmp_path / "again").mkdir()
    with caplog.at_level("WARNING"):
        run_recipe("muse_twilight", frames, {"skip": str(stored)}, workdir=tmp_path / "again", report=True)
    assert "no data in the planes at" in caplog.text
    assert "Model of a stored cube" in (tmp_path / "again" / "muse_twilight_report.html").read_text()

    def other_mode(hdus):
        hdus[0].header["ESO INS MODE"] = "NFM-AO-N"

    def no_place(hdus):
        hdus["DATA"].header["CRVAL3"] = "blue"

    for change, text in ((other_mode, "INS MODE"), (no_place, "CRVAL3")):
        bad = edited(cube, tmp_path / "bad.fits", change)
        with pytest.raises(RecipeError, match=text):
            run_recipe("muse_twilight", frames, {"skip": str(bad)}, workdir=tmp_path / "again")


@pytest.mark.unit
def test_cube_to_use_again_must_be_one(tiny, tmp_path, monkeypatch):
    for name, text in ((tiny / "sky0.fits", "no data, white"), (tmp_path / "none.fits", "no such file")):
        monkeypatch.setenv("MUSE_TWILIGHT_SKIP", str(name))
        with pytest.raises(RecipeError, match=text):
            run(frames_of(tiny), tmp_path)
