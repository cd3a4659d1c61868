# SPDX-License-Identifier: BSD-3-Clause
"""Complete simulated observations: files, reproducibility, truth."""

import json

import numpy as np
import pytest
from astropy.io import fits

from muse_core.simulate.exposure import Detector, sensitivity_table
from muse_core.simulate.scene import GRID_START, Scene, Star
from muse_core.simulate.scipost import simulate_scipost

SMALL = {"ifus": (12, 13), "slices": 4, "lambda_range": (6850.0, 6870.0)}
QUIET = Detector(noise=False, cosmic_rate=0.0, bad_fraction=0.0)


def read(path):
    with fits.open(path) as hdus:
        return {h.header["EXTNAME"]: np.array(h.data).ravel() for h in hdus[1:]}, hdus[0].header


@pytest.mark.unit
def test_files_tags_and_truth(tmp_path):
    sim = simulate_scipost(
        tmp_path, n_exposures=2, offsets=[(0.3, 0.1), (-0.2, 0.0)], flux_scales=[1.1, 0.9],
        sky_mask="celestial",
        output_wcs=True, autocal=True, throughput_error=0.01, posang=[0.0, 90.0], truth_cosmics=True,
        detector=Detector(cosmic_rate=2e-3), **SMALL,
    )  # fmt: skip
    tags = [t for _, t in sim.sof]
    assert tags.count("PIXTABLE_OBJECT") == 4
    assert set(tags) == {
        "PIXTABLE_OBJECT", "EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC", "ASTROMETRY_WCS", "FILTER_LIST",
        "LSF_PROFILE", "SKY_LINES", "SKY_CONTINUUM", "OFFSET_LIST", "SKY_MASK", "OUTPUT_WCS",
        "AUTOCAL_FACTORS",
    }  # fmt: skip
    for path, _ in sim.sof:
        with fits.open(path) as hdus:
            hdus.verify("exception")
    truth = json.loads((tmp_path / "truth" / "truth.json").read_text())
    assert truth["rows"] == sum(fits.getheader(p, 1)["NAXIS2"] for p in sim.paths("PIXTABLE_OBJECT")[:2])
    for exposure, path in zip(truth["exposures"], sim.paths("PIXTABLE_OBJECT")[::2], strict=True):
        header = fits.getheader(path)
        assert header["DATE-OBS"] == exposure["date"]
        assert (header["RA"], header["DEC"]) == tuple(exposure["shown"])
    with fits.open(tmp_path / "offset_list.fits") as hdus:
        table = hdus[1].data
        assert list(table["DATE_OBS"]) == [e["date"] for e in truth["exposures"]]
        for k, e in enumerate(truth["exposures"]):
            assert e["shown"][0] - table["RA_OFFSET"][k] == pytest.approx(e["pole"][0], abs=1e-12)
    spectra = fits.getdata(tmp_path / "truth" / "spectra.fits")
    assert spectra.shape[0] == len(truth["stars"]) + len(truth["galaxies"])
    assert spectra[0, 1000] == pytest.approx(truth["stars"][0]["flux"], rel=1e-5)  # 7000 A
    hits = np.load(tmp_path / "truth" / "cosmics_0001-12.npy")
    data, _ = read(sim.paths("PIXTABLE_OBJECT")[0])
    assert hits.size
    assert np.median(data["data"][hits]) > np.median(data["data"]) + 50
    text = (tmp_path / "scipost.sof").read_text().splitlines()
    assert len(text) == len(sim.sof)
    assert text[0] == "PIXTABLE_OBJECT_0001-12.fits PIXTABLE_OBJECT"
    assert [t for _, t in sim.frames(without=["PIXTABLE_OBJECT", "LSF_PROFILE"])][0] == "EXTINCT_TABLE"


@pytest.mark.law
def test_the_same_seed_gives_the_same_bytes_for_any_number_of_threads(tmp_path):
    one = simulate_scipost(tmp_path / "a", threads=1, seed=4, **SMALL)
    three = simulate_scipost(tmp_path / "b", threads=3, seed=4, **SMALL)
    other = simulate_scipost(tmp_path / "c", threads=1, seed=5, **SMALL)
    for a, b, c in zip(*(s.paths("PIXTABLE_OBJECT") for s in (one, three, other)), strict=True):
        assert a.read_bytes() == b.read_bytes()
        assert a.read_bytes() != c.read_bytes()


@pytest.mark.law
def test_both_flavours_hold_the_same_rows(tmp_path):
    image = simulate_scipost(tmp_path / "a", **SMALL).paths("PIXTABLE_OBJECT")[0]
    table = simulate_scipost(tmp_path / "b", as_table=True, **SMALL).paths("PIXTABLE_OBJECT")[0]
    columns, _ = read(image)
    with fits.open(table) as hdus:
        for name, values in columns.items():
            np.testing.assert_array_equal(hdus[1].data[name], values)


@pytest.mark.law
def test_rows_are_ordered_by_slice_row_and_column(tmp_path):
    columns, header = read(simulate_scipost(tmp_path, **SMALL).paths("PIXTABLE_OBJECT")[1])
    origin = columns["origin"].astype(np.int64)
    slice_ = origin & 0x3F
    offsets = [header[f"ESO DRS MUSE PIXTABLE EXP0 IFU13 SLICE{s:02d} XOFFSET"] for s in np.unique(slice_)]
    x = (origin >> 24) + np.array(offsets)[np.searchsorted(np.unique(slice_), slice_)]
    key = (slice_ * 8192 + (origin >> 11 & 0x1FFF)) * 8192 + x
    assert (np.diff(key) > 0).all()
    for axis, name in (("X", "xpos"), ("Y", "ypos"), ("LAMBDA", "lambda")):
        for end, value in (("LOW", columns[name].min()), ("HIGH", columns[name].max())):
            assert header[f"ESO DRS MUSE PIXTABLE LIMITS {axis} {end}"] == value


@pytest.mark.law
def test_counts_are_flux_times_sensitivity(tmp_path):
    """Without noise and sky a row is the flux of the star times what the calibrations will take out."""
    scene = Scene((Star(0.0, 0.0, 50000.0),))
    sim = simulate_scipost(
        tmp_path, scene=scene, sky=False, detector=QUIET, telluric=False, flat_flux=False, astrometry=False,
        ifus=(12,), slices=48, lambda_range=(6995.0, 7005.0), seeing=0.8,
    )  # fmt: skip
    columns, header = read(sim.paths("PIXTABLE_OBJECT")[0])
    airmass = sim.truth["exposures"][0]["airmass"]
    response, extinction = (fits.getdata(sim.paths(t)[0]) for t in ("STD_RESPONSE", "EXTINCT_TABLE"))
    lam = columns["lambda"].astype(float)
    resp = np.interp(lam, response["lambda"], response["response"])
    ext = np.interp(lam, extinction["lambda"], extinction["extinction"])
    flux = columns["data"] * 10 ** (0.4 * (ext * airmass - resp)) * 1e20 / (header["EXPTIME"] * 1.25)
    x0, y0 = (
        (header[f"ESO DRS MUSE PIXTABLE LIMITS {a} LOW"] + header[f"ESO DRS MUSE PIXTABLE LIMITS {a} HIGH"])
        / 2
        for a in "XY"
    )
    # surface brightness integrated over the field: rows per Angstrom and per pixel of slice area
    r2 = (0.2 * (columns["xpos"] - x0)) ** 2 + (0.2 * (columns["ypos"] - y0)) ** 2
    a2 = (0.4 / np.sqrt(2 ** (1 / 2.8) - 1)) ** 2
    profile = 1.8 / np.pi / a2 * (1 + r2 / a2) ** -2.8 * 0.04
    near = r2 < 1.0
    np.testing.assert_allclose(
        flux[near], 50000.0 * profile[near], rtol=0.02
    )  # colour of the star, refraction < 0.01 pix


@pytest.mark.unit
def test_sensitivity_undoes_itself_with_the_written_tables(tmp_path):
    sim = simulate_scipost(tmp_path, **SMALL)
    light_like = type("L", (), {"extinction": True, "telluric": True, "airmass": 1.3, "flat_field": None})
    table, step = sensitivity_table(light_like, 300.0)
    wave = GRID_START + step * np.arange(table.size)
    k = np.searchsorted(wave, [5000.0, 6900.0, 7620.0])
    tell = fits.getdata(sim.paths("STD_TELLURIC")[0])
    resp = fits.getdata(sim.paths("STD_RESPONSE")[0])
    ext = fits.getdata(sim.paths("EXTINCT_TABLE")[0])
    g = np.interp(wave[k], tell["lambda"], tell["ftelluric"] ** -1.3)
    g[wave[k] < 6273] = 1
    mag = np.interp(wave[k], resp["lambda"], resp["response"]) - 1.3 * np.interp(
        wave[k], ext["lambda"], ext["extinction"]
    )
    np.testing.assert_allclose(table[k], 300 * 1.25e-20 * 10 ** (0.4 * mag) / g, rtol=1e-12)


@pytest.mark.unit
def test_laser_mode_has_notch_flags_and_raman_lines(tmp_path):
    sim = simulate_scipost(tmp_path, mode="WFM-AO-N", ifus=(12,), slices=2, lambda_range=(5790.0, 5830.0))
    columns, header = read(sim.paths("PIXTABLE_OBJECT")[0])
    inside = columns["lambda"] > 5805.0
    assert (columns["dq"][inside] & 0x08000000 != 0).all()
    assert (columns["dq"][~inside] & 0x08000000 == 0).all()
    assert header["ESO INS MODE"] == "WFM-AO-N"
    assert len(sim.paths("RAMAN_LINES")) == 1


@pytest.mark.unit
def test_raman_light_is_there_and_scales(tmp_path):
    levels = []
    for strength in (0.0, 1.0, 2.0):
        sim = simulate_scipost(
            tmp_path, mode="WFM-AO-N", ifus=(12,), slices=2, lambda_range=(6482.0, 6487.0), raman=strength,
            sky=False, detector=QUIET, scene=Scene(),
        )  # fmt: skip
        levels.append(read(sim.paths("PIXTABLE_OBJECT")[0])[0]["data"].mean())
    assert levels[0] == 0
    assert levels[1] > 3
    assert levels[2] == pytest.approx(2 * levels[1], rel=1e-5)


@pytest.mark.unit
def test_narrow_field_mode(tmp_path):
    sim = simulate_scipost(tmp_path, mode="NFM-AO-N", n_exposures=2, **SMALL)
    cd = fits.getheader(sim.paths("ASTROMETRY_WCS")[0])["CD2_2"] * 3600
    assert cd == pytest.approx(0.02542, rel=1e-3)
    first, second = (fits.getheader(p) for p in sim.paths("PIXTABLE_OBJECT")[::2])
    assert first["ESO DRS MUSE RTC STREHL"] != second["ESO DRS MUSE RTC STREHL"]
    assert abs(second["DEC"] - first["DEC"]) * 3600 < 0.3


@pytest.mark.unit
def test_throughput_errors_are_in_the_data(tmp_path):
    keywords = {"detector": QUIET, "scene": Scene(), "flat_flux": False, **SMALL}
    plain = simulate_scipost(tmp_path / "a", **keywords).paths("PIXTABLE_OBJECT")[0]
    sim = simulate_scipost(tmp_path / "b", throughput_error=0.02, autocal=True, **keywords)
    factors = fits.getdata(sim.paths("AUTOCAL_FACTORS")[0])
    assert len(factors) == 24 * 48 * 20
    a, _ = read(plain)
    b, _ = read(sim.paths("PIXTABLE_OBJECT")[0])
    throughput = np.load(tmp_path / "b" / "truth" / "throughput.npy")
    for slice_ in sim.truth["slices"]:
        mask = (a["origin"] & 0x3F == slice_) & (a["lambda"] < 6931) & (a["lambda"] > 6678)
        ratio = np.median(b["data"][mask] / a["data"][mask])
        corr = factors["corr"][(8 * 24 + 11) * 48 + slice_ - 1]
        assert corr == pytest.approx(1 / throughput[8, 11, slice_ - 1])
        assert ratio == pytest.approx(throughput[8, 11, slice_ - 1], rel=1e-6)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"mode": "WFM"}, "mode is one of"),
        ({"n_ifu": 25}, "n_ifu is 1 to 24"),
        ({"lambda_range": (2000.0, 3000.0)}, "no CCD row"),
        ({"n_exposures": 3, "posang": [0.0, 90.0]}, "2 values given for 3"),
        ({"sky_mask": "round", "slices": 1, "lambda_range": (7000, 7003), "n_ifu": 1}, "sky_mask is"),
    ],
)
def test_wrong_wishes_are_refused(tmp_path, keywords, message):
    with pytest.raises(ValueError, match=message):
        simulate_scipost(tmp_path, **keywords)
