# SPDX-License-Identifier: BSD-3-Clause
"""A simulated night from index to products: traps are seen, the plan is complete, our recipes run on it."""

from __future__ import annotations

import tomllib

import pytest
from astropy.io import fits

from muse_core.calib.check import mismatches
from muse_core.calib.rules import load_rules
from muse_core.calib.scan import scan
from muse_core.calib.verify import verify
from muse_core.framework import run_recipe
from muse_core.framework.sof import load_sof
from muse_core.simulate.night import NightSetup, simulate_night
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.tools import main

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("night") / "in"
    simulate_night(root, NightSetup(raw=RawSetup(ifus=(1, 2), nx=512, ny=48, cosmics=2)))
    return root


def test_headers_are_like_those_of_the_archive(night):
    path = next(night.glob("raw/MUSE.2017-06-15T23:54*.fits"))
    header = fits.getheader(path)
    assert header["DATE-OBS"] == "2017-06-15T23:54:00.000" and header["ARCFILE"] == path.name
    assert (header["MJD-OBS"] - 57919.995833333) * 86400 == pytest.approx(0.867, abs=0.01)
    assert header["ESO INS MODE"] == "WFM-NOAO-N" and header["SIMULATE"] is True
    assert [path.name for path in night.glob("raw/*.fz")] == ["MUSE.2017-06-16T00:00:00.867.fits.fz"]
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["CHAN01", "CHAN02"]
        assert hdus[1].data.dtype.name == "uint16"


def test_traps_are_seen(night):
    rules = load_rules()
    index, report = scan(night, rules)
    assert report.bad == [("raw/broken.fits", "is empty")]
    told = [str(finding) for finding in verify(index, rules)]
    index.close()
    for words in (
        "1 of 3 exposures",
        "C060 duplicate",
        "DPR CALIB AMPL is in no rule",
        "broken.fits: is empty",
    ):
        assert any(words in line for line in told), words
    assert not any("lacks IFU" in line for line in told)


def test_full_verification_of_written_files(night):
    rules = load_rules()
    index, _ = scan(night / "static", rules)
    assert [str(f) for f in verify(index, rules, "full") if f.damage] == []
    index.close()


def test_twilight_runs_on_its_set(night, tmp_path):
    frames = sorted(night.glob("raw/MUSE.2017-06-15T22*.fits"))
    out = tmp_path / "t.sof"
    assert (
        main(["sof", "muse_twilight", "--for", *map(str, frames), "--calib", str(night), "-o", str(out)]) == 0
    )
    given = load_sof(out)
    assert sum(frame.tag == "SKYFLAT" for frame in given) == 3
    assert all("other mode" not in str(frame.path) for frame in given)
    products = run_recipe("muse_twilight", given, workdir=tmp_path, threads=2)
    assert {product.tag for product in products} == {"DATACUBE_SKYFLAT", "TWILIGHT_CUBE"}


def test_the_plan_of_the_night(night, tmp_path, capsys):
    assert main(["sof", "--night", str(night), "-o", str(tmp_path / "p")]) == 0
    plan = tomllib.loads((tmp_path / "p" / "plan.toml").read_text())["step"]
    assert [step["recipe"].removeprefix("muse_") for step in plan] == [
        "twilight", "scibasic", "scibasic", "scibasic", "create_sky", "scipost", "scipost", "exp_align",
        "exp_combine",
    ]  # fmt: skip
    scibasic = next(step for step in plan if step["recipe"] == "muse_scibasic")
    assert scibasic["commands"] == ["muserun muse_scibasic --nifu=-1 ../02_muse_scibasic.sof"]
    capsys.readouterr()
    assert main(["sof", "--night", str(night), "-o", str(tmp_path / "p"), "--json"]) == 0


def test_a_set_that_is_too_small_is_told(tmp_path, capsys):
    counts = tuple((tag, 2 if tag == "SKYFLAT" else n) for tag, n in NightSetup().counts)
    raw = RawSetup(ifus=(1,), nx=192, ny=32, cosmics=0)
    simulate_night(tmp_path / "in", NightSetup(raw=raw, mode="WFM-NOAO-N", counts=counts, traps=False))
    assert main(["sof", "--night", str(tmp_path / "in"), "-o", str(tmp_path / "p")]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "C021" in line]
    assert len(told) == 3  # two exposures and the sky
    assert (
        "no TWILIGHT_CUBE: only 2 x SKYFLAT of MUSE.2017-06-15T22:06:00.867: muse_twilight needs 3" in told[0]
    )


def test_a_field_of_stars_is_reduced_when_asked_for(tmp_path):
    counts = (*NightSetup().counts, ("ASTROMETRY", 1))
    raw = RawSetup(ifus=(1,), nx=192, ny=32, cosmics=0)
    simulate_night(tmp_path / "in", NightSetup(raw=raw, mode="WFM-NOAO-N", counts=counts, traps=False))
    words = [
        "sof",
        "--night",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "p"),
        "--exclude",
        "*astrometry_wcs*",
    ]
    for wish in ([], ["--use", "ASTROMETRY_WCS"]):
        main([*words, *wish])
        plan = tomllib.loads((tmp_path / "p" / "plan.toml").read_text())["step"]
        found = [step for step in plan if step["recipe"] == "muse_astrometry"]
        assert len(found) == (1 if wish else 0)
    (step,) = found
    assert step["products"] == ["ASTROMETRY_WCS_0001.fits"]
    tables = next(s for s in plan if s["number"] in step["needs"] and "ASTROMETRY" in s["products"][0])
    assert tables["recipe"] == "muse_scibasic"
    post = next(s for s in plan if s["recipe"] == "muse_scipost")
    assert step["number"] in post["needs"]


def test_a_wrong_mode_is_found_by_the_table_of_the_recipes(night):
    rules = load_rules()
    science = [(path, "OBJECT") for path in night.glob("raw/MUSE.2017-06-16T00:00*.fits.fz")]
    flats = [(path, "MASTER_FLAT") for path in night.glob("master/MASTER_FLAT/*/*-01.fits")]
    found = [wrong for path in flats for wrong in mismatches(science, [path], rules) if not wrong.usual]
    assert len(flats) == 2 and len(found) == 1
    assert (found[0].item, found[0].expected, found[0].found) == ("ESO INS MODE", "WFM-AO-N", "WFM-NOAO-N")
    biases = [(path, "MASTER_BIAS") for path in night.glob("master/MASTER_BIAS/*/*-01.fits")]
    assert {(wrong.usual, wrong.item) for wrong in mismatches(science, biases, rules)} == {
        (True, "ESO INS MODE")
    }


def test_simulated_night_command(tmp_path, capsys):
    assert (
        main(["simulate-night", str(tmp_path), "--ifus", "1", "--nx", "192", "--ny", "32", "--no-traps"]) == 0
    )
    assert "20 raw frames" in capsys.readouterr().out
    assert main(["simulate-night", str(tmp_path), "--ifus", "0"]) == 1
    assert main(["simulate-night", str(tmp_path), "--mode", "X"]) == 1
