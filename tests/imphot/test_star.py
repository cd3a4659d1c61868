# SPDX-License-Identifier: BSD-3-Clause
"""Star fits: as recorded by default, right with the matched model."""

from __future__ import annotations

import numpy as np
import pytest

import imphot
from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, write_pair

UNIQUE = ("g02_typical", "g04_rotated")  # where the recorded HST fit did not run off to beta > 1e4


@pytest.mark.golden
def test_as_recorded(golden, peer):
    for name, case in peer.items():
        for run, options in (
            ("star_free", {}),
            ("star_beta25", {"fix_beta": 2.5}),
            ("star_fixed", {"fix_beta": 2.5, "fix_fwhm": 0}),
        ):
            record = case.get(run)
            if record is None or "error" in record or name == "g10_faint":
                continue
            if "fix_fwhm" in options:
                options["fix_fwhm"] = case["truth"]["fwhm"]
            files = [str(golden / "pairs" / f"{name}_{kind}.fits") for kind in ("hstgrid", "muse")]
            fit = imphot.fit_star_photometry(*files, case["star"], **options)
            assert fit.rms_error == pytest.approx(record["rms_error"], abs=1e-8), (name, run)
            for parameter in ("dx", "dy", "fwhm", "muse_flux", "muse_bg"):
                assert getattr(fit, parameter).value == pytest.approx(
                    record[parameter][0], rel=1e-4, abs=1e-4
                ), (name, run)
            # the HST star has no Moffat wings after the low-pass, its beta runs away along a flat direction
            assert fit.scale.value == pytest.approx(record["scale"][0], rel=1e-3)
            if name in UNIQUE:
                assert fit.scale.stdev == pytest.approx(record["scale"][1], rel=1e-3)
                assert fit.summary(header=False) == record["summary"]


@pytest.fixture(scope="module")
def isolated(tmp_path_factory):
    truth = PairTruth(size=16.0, noise=1.0, fwhm=0.68)
    sky = make_sky(1, 16.0, nstar=1, ndisc=0, star_flux=(19000.0, 21000.0))
    files = [
        str(p) for p in write_pair(tmp_path_factory.mktemp("star"), "star", make_pair(sky, truth), truth)
    ]
    ra = truth.ra + sky.star_xi[0] / 3600 / np.cos(np.radians(truth.dec))
    return files, (float(ra), float(truth.dec + sky.star_eta[0] / 3600), 3.0), truth


@pytest.mark.law
def test_matched_model_finds_the_scale(isolated):
    files, star, truth = isolated
    fit = imphot.fit_star_photometry(*files, star, method="image")
    assert fit.scale.value == pytest.approx(truth.scale, rel=0.006)  # 6 % with the documented model
    assert fit.scale.value == pytest.approx(truth.scale, abs=4 * fit.scale.stdev)
    for name in ("fwhm", "beta", "dx", "dy"):
        value = getattr(fit, name)
        assert value.value == pytest.approx(getattr(truth, name), abs=4 * value.stdev + 2e-4), name
    assert 1.05 < fit.hst_beta.value < 3.0


@pytest.mark.law
def test_star_and_image_together(isolated, tmp_path):
    files, star, truth = isolated
    image, stars = imphot.fit_image_and_star_photometry(*files, star, fix_beta=2.5, method="image")
    assert (image.method, stars.method) == ("image", "stars")
    assert stars.dx.value == pytest.approx(image.dx.value, abs=2e-3)
    assert stars.scale.value == pytest.approx(image.scale.value, rel=0.02)


@pytest.mark.unit
def test_star_anywhere_in_an_oblong_image(tmp_path):
    """Rows and columns are not mixed up: a star beyond the last row number is accepted where columns allow
    it.
    """
    truth = PairTruth(size=16.0, shape=(50, 90))
    sky = make_sky(1, 16.0, nstar=1, ndisc=0, star_flux=(5000.0, 6000.0))
    sky.star_xi[0], sky.star_eta[0] = -6.0, 0.5
    hst, muse = write_pair(tmp_path, "wide", make_pair(sky, truth), truth)
    ra = truth.ra + sky.star_xi[0] / 3600 / np.cos(np.radians(truth.dec))
    fit = imphot.fit_star_photometry(str(hst), str(muse), (ra, truth.dec + 0.5 / 3600, 2.0), method="image")
    assert fit.dx.value == pytest.approx(truth.dx, abs=0.01)
    for ra_off, dec_off in ((0.0, 6.0), (10.0, 0.0)):
        outside = (truth.ra + ra_off / 3600 / np.cos(np.radians(truth.dec)), truth.dec + dec_off / 3600, 2.0)
        with pytest.raises(imphot.UserError, match="not within the image"):
            imphot.fit_star_photometry(str(hst), str(muse), outside, method="image")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("star", "text"),
    [((1, 2), "tuple"), (("a", 1, 2), "tuple"), ((53.16, -27.79, 0), "> 0"), ((53, 100, 3), "declination")],
)
def test_bad_star(pair, star, text):
    with pytest.raises(imphot.UserError, match=text):
        imphot.fit_star_photometry(*pair, star, method="image")
