# SPDX-License-Identifier: BSD-3-Clause
"""What muse_scipost tells of what is missing, not used, or not done: in the log and in the headers."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit

FLAG = "ESO QC SCIPOST "


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("in"), seed=4, n_ifu=1, slices=4, columns=16, lambda_range=(7240.0, 7290.0)
    )


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def texts(self, level=0):
        return [record.getMessage() for record in self.records if record.levelno >= level]


def reduced(simulation, folder, without=(), extra=(), strict=False, **options):
    kept = Kept()
    folder.mkdir()
    run_recipe(
        "muse_scipost",
        [*simulation.frames(without=without), *extra],
        {"skymethod": "none", "save": "cube", **options},
        workdir=folder,
        handlers=[kept],
        strict=strict,
    )
    header = fits.getheader(folder / "DATACUBE_FINAL.fits")
    return {key.removeprefix(FLAG): header[key] for key in header if key.startswith(FLAG)}, kept


def test_what_was_done_stands_in_the_header(simulation, tmp_path):
    flags, kept = reduced(simulation, tmp_path / "o", skymethod="model")
    for name in ("FLUX", "EXTINCT", "TELLURIC", "ASTROMETRY"):
        assert flags[f"CALIBRATED {name}"] is True
    assert flags["SKY METHOD"] == "model"
    assert flags["SKY CONVERGED"] is True
    assert "STD_RESPONSE: std_response.fits (Response curve from standard stars)" in kept.texts()
    assert fits.getheader(tmp_path / "o" / "IMAGE_FOV_0001.fits")[f"{FLAG}SKY METHOD"] == "model"


def test_the_fit_of_the_raman_light_stands_in_the_header(tmp_path, monkeypatch):
    options = {"lambda_range": (6450.0, 6520.0), "n_ifu": 1, "slices": 12, "mode": "WFM-AO-N"}
    lasers = simulate_scipost(tmp_path / "lasers", seed=3, **options)
    flags, kept = reduced(lasers, tmp_path / "o")
    assert flags["RAMAN CONVERGED"] is True
    assert not [text for text in kept.texts(logging.WARNING) if "Raman line fit" in text]
    monkeypatch.setattr("muse_core.postproc.raman.model.N_TERM", 9)  # more than the data determine
    flags, kept = reduced(lasers, tmp_path / "p")
    assert flags["RAMAN CONVERGED"] is False
    assert any("not well determined" in text for text in kept.texts(logging.WARNING))


def test_what_is_missing_is_a_warning_and_a_flag(simulation, tmp_path):
    flags, kept = reduced(simulation, tmp_path / "o", ("STD_RESPONSE", "ASTROMETRY_WCS"))
    assert flags["CALIBRATED FLUX"] is False
    assert "CALIBRATED TELLURIC" not in flags
    assert flags["CALIBRATED ASTROMETRY"] is False
    assert flags["SKY METHOD"] == "none"
    assert any("the data are counts, not fluxes" in text for text in kept.texts(logging.WARNING))
    flags, kept = reduced(simulation, tmp_path / "p", ("STD_TELLURIC", "EXTINCT_TABLE"))
    assert (flags["CALIBRATED FLUX"], flags["CALIBRATED TELLURIC"], flags["CALIBRATED EXTINCT"]) == (
        True, False, False,
    )  # fmt: skip
    for tag in ("STD_TELLURIC missing", "EXTINCT_TABLE missing"):
        assert any(tag in text for text in kept.texts(logging.WARNING))
    assert any(text.startswith("SKY_LINES was not needed") for text in kept.texts())


def test_compatible_mode_has_none_of_these_keywords(simulation, tmp_path):
    flags, _ = reduced(simulation, tmp_path / "o", ("STD_RESPONSE",), compat=True)
    assert not {name for name in flags if name.startswith(("CALIBRATED", "SKY"))}


def test_strict_ends_where_something_is_left_out(simulation, tmp_path):
    with pytest.raises(RecipeError, match="counts, not fluxes"):
        reduced(simulation, tmp_path / "o", ("STD_RESPONSE",), strict=True)
    with pytest.raises(RecipeError, match="STD_TELLURIC"):
        reduced(simulation, tmp_path / "p", ("STD_TELLURIC",), strict=True)
    assert not list((tmp_path / "p").glob("*.fits"))
    with pytest.raises(InputError, match="did you mean STD_RESPONSE"):
        reduced(
            simulation,
            tmp_path / "q",
            extra=[(simulation.paths("STD_RESPONSE")[0], "STD_RESPONS")],
            strict=True,
        )


def test_mask_without_coordinates(simulation, tmp_path):
    fits.PrimaryHDU(np.ones((30, 30), "i2")).writeto(tmp_path / "mask.fits")
    extra = [(tmp_path / "mask.fits", "SKY_MASK")]
    _, kept = reduced(simulation, tmp_path / "o", extra=extra, skymethod="simple")
    assert any("SKY_MASK has no world coordinates" in text for text in kept.texts(logging.WARNING))


def test_text_table_of_mpdaf_is_named_in_one_message(simulation, tmp_path):
    from mpdaf.drs import PixTable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PixTable(str(simulation.paths("PIXTABLE_OBJECT")[0])).write(
            str(tmp_path / "a.fits"), save_as_ima=False
        )
        PixTable(str(simulation.paths("PIXTABLE_OBJECT")[0])).write(
            str(tmp_path / "i.fits"), save_as_ima=True
        )
    frames = [(path, tag) for path, tag in simulation.frames() if tag != "PIXTABLE_OBJECT"]
    with pytest.raises(InputError, match="save_as_ima=True") as caught:
        run_recipe("muse_scipost", [*frames, (tmp_path / "a.fits", "PIXTABLE_OBJECT")], {"skymethod": "none"})
    assert len(caught.value.faults) == 1
    assert "xpos, ypos, lambda, data, dq, stat, origin" in str(caught.value)
    (tmp_path / "o").mkdir()
    made = [*frames, (tmp_path / "i.fits", "PIXTABLE_OBJECT")]
    assert run_recipe("muse_scipost", made, {"skymethod": "none"}, workdir=tmp_path / "o")


def test_a_missing_column_is_one_message(simulation, tmp_path):
    path = tmp_path / "short.fits"
    with fits.open(simulation.paths("PIXTABLE_OBJECT")[0]) as hdus:
        fits.HDUList([hdu for hdu in hdus if hdu.name.upper() not in ("STAT", "DQ")]).writeto(path)
    with pytest.raises(InputError) as caught:
        run_recipe("muse_scipost", [(path, "PIXTABLE_OBJECT")], {"skymethod": "none"}, workdir=tmp_path)
    assert len(caught.value.faults) == 1
    assert "columns dq, stat" in str(caught.value)


def test_raw_exposure_given_to_muserun(simulation, tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "MUSE.2020.fits")
    (tmp_path / "a.sof").write_text(f"{tmp_path / 'MUSE.2020.fits'} OBJECT\n")
    command = [
        sys.executable,
        "-m",
        "muse_core.hosts.muserun",
        f"--log-dir={tmp_path}",
        f"--output-dir={tmp_path}",
    ]
    command += ["muse_scipost", str(tmp_path / "a.sof")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert result.returncode == 255
    assert "muse_scibasic makes PIXTABLE_OBJECT of it" in result.stdout
    assert "whose tags are: OBJECT (1)" in result.stderr


def test_corrections_that_some_exposures_lack_are_told_of_all():
    from muse_core.postproc.combination.combine import told_of_all

    key, refined = "ESO DRS MUSE SKIPPED FLUX", "ESO DRS MUSE SKY REFINE"

    def told(*headers):
        cards = [{f"HIERARCH {name}": value for name, value in header.items()} for header in headers]
        return told_of_all([fits.Header(card) for card in cards])

    assert told({refined: 3}, {key: "no curve", refined: 2}, {}) == [
        (key, "no curve (exposure 2)", ""), (refined, 5, "Slices with a refined sky"),
    ]  # fmt: skip
    assert told({key: "no curve"}, {key: "no curve"}) == [(key, "no curve", "")]
    both = told({key: "no curve"}, {key: "counts"})
    assert both == [(key, "no curve (exposure 1); counts (exposure 2)", "")]


def test_a_refinement_without_a_sky_of_its_own_is_told(simulation, tmp_path):
    _, kept = reduced(simulation, tmp_path / "o", sky_refine=True)
    assert any("sky_refine has no effect" in text for text in kept.texts(logging.WARNING))
