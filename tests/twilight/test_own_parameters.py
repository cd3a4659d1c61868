# SPDX-License-Identifier: BSD-3-Clause
"""Parameters that the C recipe knows as environment variables only."""

import numpy as np
import pytest

from muse_core.framework import RecipeError
from tests.twilight.conftest import frames_of
from tests.twilight.recipe_runs import data_of, keywords, run


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
def test_cube_to_use_again_must_be_one(tiny, tmp_path, monkeypatch):
    for name, text in ((tiny / "sky0.fits", "no data, white"), (tmp_path / "none.fits", "existing file")):
        monkeypatch.setenv("MUSE_TWILIGHT_SKIP", str(name))
        with pytest.raises(RecipeError, match=text):
            run(frames_of(tiny), tmp_path)
