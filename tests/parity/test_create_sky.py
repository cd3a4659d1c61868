# SPDX-License-Identifier: BSD-3-Clause
"""muse_create_sky beside the C recipe: random runs, its defects, and its model in the other's scipost."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, run_recipe
from tests.parity.compare import assert_same_product
from tests.parity.night_sky import RAW, as_sky, compare, draw, make_fields, run_both

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    return make_fields(tmp_path_factory.mktemp("fields"))


@pytest.mark.parametrize("number", range(4))
def test_random_runs_are_those_of_the_c_recipe(number, c_pipeline, fields, tmp_path):
    frames, options = draw(fields, np.random.default_rng([2, number]))
    compare(run_both(c_pipeline, frames, options, tmp_path), frames, options)


def with_other_date(path, folder):
    """The same rows as another exposure."""
    folder.mkdir(exist_ok=True)
    other = folder / f"other-{path.name}"
    with fits.open(path) as hdus:
        hdus[0].header["DATE-OBS"] = "2018-01-01T00:00:00.000"
        hdus.writeto(other)
    return other


@pytest.mark.defect("sky_exposures_overlaid")
def test_several_exposures(c_pipeline, fields, tmp_path):
    frames = as_sky(fields["plain"], without=("SKY_CONTINUUM", "SKY_MASK"))
    second = with_other_date(frames[1][0], tmp_path / "other")
    frames = [frames[0], (second, RAW), *(frame for frame in frames if frame[1] != RAW)]
    with pytest.raises(InputError, match="pixel tables of one exposure"):
        run_recipe("muse_create_sky", frames, {}, workdir=tmp_path)
    products = run_both(c_pipeline, frames, {}, tmp_path / "both")
    for name in ("SKY_IMAGE.fits", "SKY_MASK.fits", "SKY_SPECTRUM.fits"):
        # C notes these of the first exposure alone
        assert_same_product(*products[name], ignore=("PIXTABLE MERGED", "PIXTABLE PREDAR"))


@pytest.mark.parametrize("maker", ["c", "ours"])
def test_the_model_of_one_in_the_scipost_of_the_other(maker, c_pipeline, fields, tmp_path):
    """SKY_LINES and SKY_CONTINUUM leave the same object table, whoever reads them."""
    field = fields["plain"]
    frames = as_sky(field, without=("SKY_CONTINUUM", "SKY_MASK"))
    sof = tmp_path / "sky.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    made = tmp_path / "made"
    made.mkdir()
    if maker == "c":
        c_pipeline.run("muse_create_sky", sof, made)
    else:
        run_recipe("muse_create_sky", frames, {}, workdir=made)
    tags = ("PIXTABLE_OBJECT", "EXTINCT_TABLE", "STD_RESPONSE", "LSF_PROFILE")
    objects = [*field.frames(only=tags)]
    objects += [(made / f"{tag}.fits", tag) for tag in ("SKY_LINES", "SKY_CONTINUUM")]
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in objects))
    options = {"skymethod": "subtract-model", "save": "individual", "rvcorr": "none"}
    c_pipeline.run("muse_scipost", sof, tmp_path / "c", *(f"--{k}={v}" for k, v in options.items()))
    (tmp_path / "ours").mkdir()
    run_recipe("muse_scipost", objects, {**options, "compat": True}, workdir=tmp_path / "ours")
    name = "PIXTABLE_REDUCED_0001.fits"
    assert_same_product(tmp_path / "c" / name, tmp_path / "ours" / name, rtol=0.0, nsigma=1e-6)
    with fits.open(tmp_path / "c" / name) as table:
        good = table["dq"].data == 0
        assert abs(np.median(table["data"].data[good])) < 0.5 * np.sqrt(np.median(table["stat"].data[good]))
