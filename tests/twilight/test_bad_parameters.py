# SPDX-License-Identifier: BSD-3-Clause
"""Parameters and sets of frames that make no sense."""

import pytest
from astropy.io import fits

from muse_core.framework import InputError, ParameterError, RecipeError
from muse_core.simulate.raw import RawSetup, simulate_raw
from tests.twilight.conftest import frames_of
from tests.twilight.recipe_runs import replaced, run


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lambdamin": 9000.0, "lambdamax": 5000.0}, "lambdamin"),
        ({"dlambda": 0.0}, "dlambda"),
        ({"xorder": -1}, "xorder"),
        ({"yorder": 99}, "yorder"),
        ({"overscan": "median"}, "overscan"),
        ({"ovscreject": "dcr:x"}, "ovscreject"),
        ({"ovscignore": -1}, "ovscignore"),
        ({"nlow": -1}, "nlow"),
        ({"lsigma": 0.0}, "lsigma"),
        ({"vignnfmmask": -3}, "vignnfmmask"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_done(tiny, tmp_path, settings, text):
    with pytest.raises((InputError, ParameterError), match=text):
        run(frames_of(tiny), tmp_path, **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lambdamin": 100.0, "lambdamax": 200.0}, "no IFU"),
        ({"ovscignore": 40}, "no IFU"),
        ({"xorder": 30, "yorder": 30}, "lower orders"),
        ({"dlambda": 0.001}, "dlambda"),
        ({"combine": "minmax", "nlow": 2, "nhigh": 2}, "IFU 1"),
    ],
)
def test_impossible_parameters_fail_with_the_reason(tiny, tmp_path, settings, text):
    with pytest.raises(RecipeError, match=text):
        run(frames_of(tiny), tmp_path, **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.unit
@pytest.mark.parametrize(
    "tag", ["SKYFLAT", "MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE"]
)
def test_missing_input_is_named(tiny, tmp_path, tag):
    with pytest.raises(InputError, match=tag):
        run(replaced(frames_of(tiny), tag), tmp_path)


@pytest.mark.unit
@pytest.mark.parametrize("tag", ["MASTER_DARK", "BADPIX_TABLE", "ILLUM"])
def test_optional_input_may_be_missing(tiny, tmp_path, tag):
    assert len(run(replaced(frames_of(tiny), tag), tmp_path)) == 2


@pytest.mark.unit
def test_minmax_needs_what_it_drops_and_keeps(tiny, tmp_path):
    """As the C pipeline: three exposures are not enough for 1 + 1 + 2."""
    with pytest.raises(RecipeError, match="3 SKYFLAT frames have CHAN01, combine=minmax needs 4"):
        run(frames_of(tiny), tmp_path, combine="minmax", nkeep=2)


@pytest.mark.unit
def test_narrow_field_without_ifu_23(tmp_path, monkeypatch):
    """The C pipeline takes the flux 0 for IFU 24 and does not scale its data (compat)."""
    setup = RawSetup(nx=192, ny=40, ifus=(1, 24), mode="NFM-AO-N", ifu_scatter=0.2)
    simulate_raw(tmp_path / "set", setup, illum=False)
    found = []
    for compat in ("0", "1"):
        monkeypatch.setenv("MUSE_RECIPES_COMPAT", compat)
        (tmp_path / compat).mkdir()
        products = run(frames_of(tmp_path / "set"), tmp_path / compat)
        found.append(fits.getheader(products["TWILIGHT_CUBE"]))
    assert found[0]["ESO DRS MUSE FLAT FLUX SKY24"] > 0
    assert found[1]["ESO DRS MUSE FLAT FLUX SKY24"] == 0


@pytest.mark.unit
def test_two_skyflats_or_two_illums_are_refused(tiny, tmp_path):
    frames = frames_of(tiny)
    with pytest.raises(InputError, match=r"SKYFLAT.*at least 3"):
        run([f for f in frames if f[0].name != "sky2.fits"], tmp_path)
    with pytest.raises(InputError, match="ILLUM"):
        run([*frames, (tiny / "illum.fits", "ILLUM")], tmp_path)


@pytest.mark.unit
def test_all_faults_are_reported_together(tiny, tmp_path):
    junk = tmp_path / "junk.fits"
    junk.write_text("no FITS")
    other = tmp_path / "other.fits"
    other.write_text("no FITS either")
    frames = replaced(replaced(frames_of(tiny), "GEOMETRY_TABLE", junk), "MASTER_FLAT", other)
    with pytest.raises(InputError) as caught:
        run(frames, tmp_path, lambdamin=9000.0, lambdamax=5000.0)
    items = " ".join(f.item for f in caught.value.faults)
    assert len(caught.value.faults) == 3
    assert "lambdamin" in items
