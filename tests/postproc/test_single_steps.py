# SPDX-License-Identifier: BSD-3-Clause
"""Single steps (muse_scipost_*) and mistakes: one message before the first row, no product."""

from __future__ import annotations

import pytest
from astropy.io import fits

from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit
OBJECT, REDUCED = "PIXTABLE_OBJECT", "PIXTABLE_REDUCED"


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("steps"), seed=3, n_ifu=2, slices=4, columns=12, n_exposures=2, lsf="table",
        lambda_range=(6290.0, 6310.0),
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    def run(name, frames, **options):
        folder = tmp_path / f"{name}_{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return run_recipe(f"muse_scipost_{name}", frames, options, workdir=folder)

    return run


def table(path, folder, unit="pix", **cards):
    """A copy of a pixel table with other positions and keywords."""
    copy = folder / f"changed_{path.name}"
    with fits.open(path) as hdus:
        for column in ("xpos", "ypos"):
            hdus[column].header["BUNIT"] = unit
        for key, value in cards.items():
            hdus[0].header[f"HIERARCH ESO DRS MUSE PIXTABLE {key}"] = value
        hdus.writeto(copy)
    return copy


@pytest.mark.parametrize("name", ["correct_dar", "apply_astrometry"])
def test_tables_on_the_sky_are_refused(name, observation, tmp_path, run):
    path = table(observation.paths(OBJECT)[0], tmp_path, unit="rad")
    frames = [(path, OBJECT), *observation.frames(only=["ASTROMETRY_WCS"])]
    with pytest.raises(InputError, match=r"unit of xpos and ypos: expected pix .*found rad"):
        run(name, frames)


@pytest.mark.parametrize(
    ("name", "tag", "needed"),
    [
        ("calibrate_flux", OBJECT, ("STD_RESPONSE",)),
        ("apply_astrometry", OBJECT, ("ASTROMETRY_WCS",)),
        ("raman", OBJECT, ("RAMAN_LINES", "LSF_PROFILE")),
        ("subtract_sky", REDUCED, ("SKY_LINES", "SKY_CONTINUUM", "LSF_PROFILE")),
        ("subtract_sky_simple", REDUCED, ("SKY_SPECTRUM",)),
    ],
)
def test_what_is_needed_is_named(name, tag, needed, observation, run):
    with pytest.raises(InputError) as caught:
        run(name, [(observation.paths(OBJECT)[0], tag)])
    for missing in needed:
        assert f"input {missing}: expected a frame with this tag" in str(caught.value)


def test_calibrated_data_are_not_calibrated_again(observation, tmp_path, run):
    path = table(observation.paths(OBJECT)[0], tmp_path, FLUXCAL=True)
    with pytest.raises(InputError, match="expected data in counts, found calibrated fluxes"):
        run("calibrate_flux", [(path, OBJECT), *observation.frames(only=["STD_RESPONSE"])])


def test_response_that_wants_flat_field_spectra(observation, tmp_path, run):
    (response,) = observation.paths("STD_RESPONSE")
    with fits.open(response) as hdus:
        hdus[0].header["HIERARCH ESO DRS MUSE FLUX FFCORR"] = True
        hdus.writeto(tmp_path / "response.fits")
    frames = [(observation.paths(OBJECT)[0], OBJECT), (tmp_path / "response.fits", "STD_RESPONSE")]
    with pytest.raises(InputError, match=r"FFCORR: expected .*combine_pixtables first"):
        run("calibrate_flux", frames)


def test_several_exposures(observation, run):
    tables = observation.frames(only=[OBJECT])
    with pytest.raises(InputError, match="expected pixel tables of one exposure, found 2 exposures"):
        run("raman", tables)
    with pytest.raises(InputError, match=r"unit of xpos and ypos: expected rad"):
        run("combine_pixtables", tables)


@pytest.mark.parametrize("name", ["correct_dar", "correct_rv", "make_cube", "combine_pixtables"])
def test_nothing_usable(name, observation, tmp_path, run):
    bad = tmp_path / "bad.fits"
    bad.write_bytes(observation.paths(OBJECT)[0].read_bytes()[:20000])
    with pytest.raises(InputError, match=r"bad\.fits"):
        run(name, [(bad, OBJECT)])
    with pytest.raises(RecipeError, match="lambdamin < lambdamax"):
        run(name, observation.frames(only=[OBJECT])[:1], lambdamin=7000.0, lambdamax=6000.0)
    with pytest.raises(RecipeError, match="no entries after cutting"):
        run(name, observation.frames(only=[OBJECT])[:1], lambdamin=8000.0)


def test_made_before_is_left_alone(observation, tmp_path, run):
    path = table(observation.paths(OBJECT)[0], tmp_path, **{"DAR CORRECT": 7000.0})
    (product,) = run("correct_dar", [(path, OBJECT)])
    for column in ("xpos", "ypos", "lambda", "data"):
        assert (fits.getdata(product.path, column) == fits.getdata(path, column)).all()


def test_offsets_of_one_exposure_are_told(observation, tmp_path, run, caplog):
    from muse_core.simulate.calibrations import write_offsets

    offsets = write_offsets(
        tmp_path / "offsets.fits", ["2017-02-16T06:00:00.000"], [57800.25], [0.1], [0.1], None
    )
    frames = [(observation.paths(OBJECT)[0], OBJECT), (offsets, "OFFSET_LIST")]
    run("combine_pixtables", frames)
    assert "OFFSET_LIST is of no use: a single exposure is not moved" in caplog.text


def test_a_given_sky_must_be_one(observation, tmp_path, run):
    """As in muse_scipost: a continuum without its extension, wavelengths of another unit."""
    path = table(observation.paths(OBJECT)[0], tmp_path, FLUXCAL=True)
    frames = dict(reversed(pair) for pair in observation.frames(only=["SKY_LINES", "SKY_CONTINUUM"]))
    given = [(path, REDUCED), *observation.frames(only=["LSF_PROFILE"])]
    empty = tmp_path / "empty.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(name="OTHER")]).writeto(empty)
    with pytest.raises(InputError, match=r"empty\.fits: extension CONTINUUM"):
        run("subtract_sky", [*given, (frames["SKY_LINES"], "SKY_LINES"), (empty, "SKY_CONTINUUM")])
    with fits.open(frames["SKY_CONTINUUM"]) as hdus:
        hdus["CONTINUUM"].data["lambda"] /= 10.0
        hdus.writeto(tmp_path / "nm.fits")
    frames["SKY_CONTINUUM"] = tmp_path / "nm.fits"
    with pytest.raises(InputError, match=r"nm\.fits: column lambda: expected wavelengths in Angstrom"):
        run("subtract_sky", [*given, *((file, tag) for tag, file in frames.items())])


def test_a_table_without_the_level_of_the_sky_is_told(observation, tmp_path, run, caplog):
    path = table(observation.paths(OBJECT)[0], tmp_path, FLUXCAL=True)
    fits.delval(path, "ESO DRS MUSE FLAT FLUX SKY")
    calibrations = observation.frames(only=["SKY_LINES", "SKY_CONTINUUM", "LSF_PROFILE"])
    run("subtract_sky", [(path, REDUCED), *calibrations], flux_sky=2.0)
    assert "exposure 1 has no ESO DRS MUSE FLAT FLUX SKY: the sky is subtracted as it is" in caplog.text
