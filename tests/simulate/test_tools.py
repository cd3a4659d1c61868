# SPDX-License-Identifier: BSD-3-Clause
"""musetools simulate and the demonstration's set of frames."""

import os
import subprocess

import pytest
from astropy.io import fits

from muse_core.tools import main
from muse_core.tools.demo import demo_sof
from tests.oracle import need_c_recipe


@pytest.mark.unit
def test_simulate_command(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["simulate", str(out), "--ifu-list", "3", "9", "--slices", "3", "--range", "7000", "7010"]
    assert (
        main([*words, "--dithers", "0,0", "1,-1", "--exposures", "2", "--binary-table", "--lsf", "table"])
        == 0
    )
    text = capsys.readouterr().out
    assert "pixel-table rows" in text
    assert len(list(out.glob("PIXTABLE_OBJECT_*.fits"))) == 4
    with fits.open(out / "PIXTABLE_OBJECT_0002-09.fits") as hdus:
        assert len(hdus) == 2
        assert hdus[0].header["EXTNAME"] == "CHAN09"
    assert (out / "scipost.sof").is_file()


@pytest.mark.unit
def test_simulate_command_refuses_politely(tmp_path, capsys):
    assert main(["simulate", str(tmp_path), "--mode", "XFM"]) == 1
    assert "mode is one of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["simulate", str(tmp_path), "--dithers", "one"])
    assert "two numbers" in capsys.readouterr().err


@pytest.mark.unit
def test_demo_sof_names_what_the_demo_makes(monkeypatch, tmp_path):
    from muse_core.calib import calibration_folder
    from muse_core.framework.sof import parse_sof
    from muse_core.tools.demo import IFUS

    monkeypatch.setenv("MUSE_DEMO", str(tmp_path))
    monkeypatch.setenv("MUSE_CALIB_DB", str(calibration_folder()))
    frames = parse_sof(demo_sof().read_text())
    tables = [f.path.name for f in frames if f.tag == "PIXTABLE_OBJECT"]
    assert tables == [f"PIXTABLE_OBJECT_0001-{i:02d}.fits" for i in IFUS]
    shipped = [f for f in frames if f.path.is_relative_to(calibration_folder())]
    assert len(shipped) == 5
    for frame in shipped:
        assert fits.getheader(frame.path)["ESO PRO CATG"] == frame.tag


SETS = {
    "none-table-flatfield": ({"as_table": True, "flat_field": True}, ["--skymethod=none"]),
    "simple-celestial": (
        {
            "n_exposures": 2,
            "offsets": [(0.5, 0.2), (-0.6, 1.0)],
            "flux_scales": [1.1, 0.9],
            "sky_mask": "celestial",
        },
        ["--skymethod=simple"],
    ),
    "model-images": ({"sky_mask": "pixel"}, ["--skymethod=model"]),
    "model-parameters-oh": ({"lsf": "table", "oh_table": True}, ["--skymethod=model"]),
    "subtract-merged": ({"lsf": "merged", "posang": 25.0}, ["--skymethod=subtract-model"]),
    "raman": (
        {"mode": "WFM-AO-N", "lambda_range": (6470.0, 6500.0)},
        ["--skymethod=none", "--save=raman,cube", "--skymodel_fraction=0.7"],
    ),
    "narrow-field": ({"mode": "NFM-AO-N", "output_wcs": True}, ["--skymethod=simple"]),
    "autocal-user": ({"throughput_error": 0.01, "autocal": True}, ["--skymethod=none", "--autocalib=user"]),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", SETS)
def test_the_c_recipe_takes_the_simulated_inputs(tmp_path, name):
    from muse_core.simulate.scipost import simulate_scipost

    need_c_recipe("muse_scipost")
    keywords, options = SETS[name]
    simulate_scipost(
        tmp_path, **{"ifus": (12, 13), "slices": 12, "lambda_range": (7270.0, 7300.0), **keywords}
    )
    run = subprocess.run(
        ["esorex", "--output-dir=.", "--log-dir=.", "muse_scipost", *options, "scipost.sof"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:]
    assert "[ ERROR ]" not in run.stdout
    assert "could not be loaded" not in run.stdout
    with fits.open(tmp_path / "DATACUBE_FINAL.fits") as hdus:
        assert hdus["DATA"].header["BUNIT"].startswith("10**(-20)")  # response and extinction were applied
    if "raman" in name:
        assert (tmp_path / "RAMAN_IMAGES_0001.fits").is_file()
    if "model" in name:
        assert (tmp_path / "SKY_LINES_0001.fits").is_file()


@pytest.mark.parity
def test_true_lines_leave_nothing_but_noise(tmp_path):
    """The C recipe, given the true lines, continuum and LSF, takes the simulated sky out to noise."""
    import numpy as np

    from muse_core.simulate.exposure import Detector
    from muse_core.simulate.scene import Scene
    from muse_core.simulate.scipost import simulate_scipost

    need_c_recipe("muse_scipost")
    sim = simulate_scipost(
        tmp_path, ifus=(12, 13), slices=12, lambda_range=(7270.0, 7350.0), scene=Scene(),
        detector=Detector(cosmic_rate=0, bad_fraction=0, variance_from_data=False),
    )  # fmt: skip
    frames = sim.frames(without=["SKY_LINES", "SKY_CONTINUUM"])
    frames += [(tmp_path / "truth" / "sky_lines_0001.fits", "SKY_LINES")]
    frames += [(tmp_path / "truth" / "sky_continuum_0001.fits", "SKY_CONTINUUM")]
    (tmp_path / "true.sof").write_text("".join(f"{p} {t}\n" for p, t in frames))
    options = ["--skymethod=subtract-model", "--rvcorr=none", "--save=individual"]
    run = subprocess.run(
        ["esorex", "--output-dir=.", "--log-dir=.", "muse_scipost", *options, "true.sof"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:]
    with fits.open(tmp_path / "PIXTABLE_REDUCED_0001.fits") as hdus:
        lam, data, stat = (np.array(hdus[n].data).ravel().astype(float) for n in ("lambda", "data", "stat"))
    z = data / np.sqrt(stat)
    assert abs(z.mean()) < 0.01  # 1.4e5 rows: standard error 0.003
    assert z.std() == pytest.approx(0.98, abs=0.02)  # the recipe adds 1.6 % of the data to its errors
    planes = np.floor((lam - lam.min()) / 1.25).astype(int)
    count = np.bincount(planes)
    mean = np.bincount(planes, z) / np.maximum(count, 1)
    assert np.abs(mean * np.sqrt(count))[count > 200].max() < 4.5  # 65 planes: no residual on the lines
