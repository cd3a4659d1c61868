# SPDX-License-Identifier: BSD-3-Clause
"""musetools simulate-align and simulate-imphot: sets that their recipes run on, and keywords of clients."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.framework.sof import load_sof
from muse_core.tools import main

pytestmark = pytest.mark.unit


def test_simulate_align_makes_what_muse_exp_align_takes(tmp_path, monkeypatch, capsys):
    assert main(["simulate-align", str(tmp_path / "in"), "--size", "160", "--stars", "25"]) == 0
    assert "muserun muse_exp_align align.sof" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "in")
    (tmp_path / "out").mkdir()
    run_recipe("muse_exp_align", load_sof("align.sof"), workdir=tmp_path / "out")
    truth = np.loadtxt("truth.txt", usecols=(1, 2))
    with fits.open(tmp_path / "out" / "OFFSET_LIST.fits") as hdus:
        found = np.column_stack([hdus[1].data["RA_OFFSET"], hdus[1].data["DEC_OFFSET"]])
    np.testing.assert_allclose(found, truth, atol=0.03 / 3600)  # centroids of noisy stars
    header = fits.getheader("image_0002.fits")
    assert [header[f"ESO TPL {key}"] for key in ("NEXP", "EXPNO")] == [3, 2]


def test_simulate_imphot_makes_what_muse_imphot_takes(tmp_path, monkeypatch):
    assert main(["simulate-imphot", str(tmp_path / "in"), "--exposures", "1", "--size", "14"]) == 0
    monkeypatch.chdir(tmp_path / "in")
    (tmp_path / "out").mkdir()
    run_recipe("muse_imphot", load_sof("imphot.sof"), {"nproc": 1}, workdir=tmp_path / "out")
    truth = np.loadtxt("truth.txt", usecols=(1, 2, 3, 4, 5, 6), ndmin=2)[0]
    with fits.open(tmp_path / "out" / "IMPHOT_TABLE.fits") as hdus:
        row = hdus[1].data[0]
        names = {name.lower(): name for name in hdus[1].columns.names}
    assert row[names["fwhm"]] == pytest.approx(truth[0], rel=0.1)  # one small noisy image
    assert row[names["scale"]] == pytest.approx(truth[4], rel=0.1)


@pytest.mark.parametrize(
    "words", [["simulate-align", "x", "--exposures", "1"], ["simulate-imphot", "x", "--size", "1"]]
)
def test_bad_sizes_are_told(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert "use " in capsys.readouterr().err


def test_pixel_tables_carry_the_template(tmp_path):
    words = [
        "simulate",
        str(tmp_path),
        "--ifus",
        "1",
        "--slices",
        "2",
        "--columns",
        "5",
        "--range",
        "7000",
        "7010",
    ]
    assert main([*words, "--exposures", "2"]) == 0
    heads = [fits.getheader(tmp_path / f"PIXTABLE_OBJECT_000{i}-12.fits") for i in (1, 2)]
    assert [(h["ESO TPL NEXP"], h["ESO TPL EXPNO"]) for h in heads] == [(2, 1), (2, 2)]
    assert heads[0]["ESO TPL START"] == heads[1]["ESO TPL START"] == heads[0]["DATE-OBS"][:19]


@pytest.mark.slow
def test_the_default_set_is_reduced_without_a_warning(tmp_path, monkeypatch):
    """The defaults, but for the width of the slices."""
    assert main(["simulate", str(tmp_path / "in"), "--columns", "8"]) == 0
    monkeypatch.chdir(tmp_path / "in")
    (tmp_path / "out").mkdir()
    seen = []

    class Kept(logging.Handler):
        def emit(self, record):
            seen.append(record)

    frames = load_sof("scipost.sof")
    run_recipe("muse_scipost", frames, workdir=tmp_path / "out", handlers=[Kept()], strict=True)
    assert [record.getMessage() for record in seen if record.levelno >= logging.WARNING] == []
    header = fits.getheader(tmp_path / "out" / "DATACUBE_FINAL.fits")
    assert header["ESO QC SCIPOST SKY CONVERGED"] is True
