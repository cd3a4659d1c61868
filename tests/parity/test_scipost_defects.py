# SPDX-License-Identifier: BSD-3-Clause
"""Each known defect of rows, cube and products of muse_scipost: shown by C, repeated in compatible mode."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import Defects, InputError, RecipeError, run_recipe
from muse_core.framework.spec import ParamValues
from muse_core.simulate.exposure import Detector
from muse_core.simulate.scene import Scene, Star
from muse_core.simulate.scipost import simulate_scipost
from tests.parity.compare import assert_same_product, option_text

pytestmark = pytest.mark.parity

FIELD = {"n_ifu": 1, "slices": 6, "columns": 24, "lambda_range": (6285.0, 6315.0), "lsf": None}
ROWS = {"skymethod": "none", "save": "individual", "rvcorr": "none"}
CUBE = {"skymethod": "none", "save": "cube", "rvcorr": "none"}
TABLE = "PIXTABLE_REDUCED_0001.fits"
FINAL = "DATACUBE_FINAL.fits"
KEY = "ESO DRS MUSE PIXTABLE"
PLAIN = Detector(cosmic_rate=0.0, bad_fraction=0.0)


class Runs:
    """The inputs of an observation, and its reduction by C, by ours, and by ours in the compatible mode."""

    def __init__(self, folder, frames, c_pipeline):
        self.folder, self.frames, self.c_pipeline = folder, list(frames), c_pipeline

    def change(self, tag, edit):
        """Change copies of the frames of a tag."""
        for k, (path, name) in enumerate(self.frames):
            if name == tag:
                copy = self.folder / f"changed_{k}.fits"
                shutil.copy(path, copy)
                with fits.open(copy, mode="update") as hdus:
                    edit(hdus)
                self.frames[k] = (copy, tag)

    def leave_out(self, *tags):
        """Leave out the frames of some tags."""
        self.frames = [frame for frame in self.frames if frame[1] not in tags]

    def c(self, options, env=None, *, check=True):
        """Run the C recipe; return the folder of its products, or what it said."""
        sof = self.folder / "in.sof"
        sof.write_text("".join(f"{path} {tag}\n" for path, tag in self.frames))
        folder = self.folder / "c"
        result = self.c_pipeline.run("muse_scipost", sof, folder, *option_text(options), env=env, check=check)
        return folder if check else result

    def ours(self, options, name=None, **parameters):
        """Run our recipe; return the folder of its products."""
        folder = self.folder / (name or ("compat" if parameters.get("compat") else "ours"))
        folder.mkdir()
        run_recipe("muse_scipost", self.frames, {**options, **parameters}, workdir=folder)
        return folder

    def three(self, options, env=None, ignore=(), **parameters):
        """Run all three; the products of C and of the compatible mode are the same. Return C's and ours."""
        c = self.c(options, env)
        compat = self.ours(options, compat=True, **parameters)
        names = sorted(path.name for path in compat.iterdir())
        assert names == sorted(path.name for path in c.glob("*.fits") if path.name != "fov_clean.fits")
        for name in names:
            assert_same_product(c / name, compat / name, ignore=("^PROCSOFT$", *ignore))
        return c, self.ours(options, **parameters)


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    made = {}

    def get(**changes):
        key = str(changes)
        if key not in made:
            made[key] = simulate_scipost(tmp_path_factory.mktemp("field"), seed=71, **{**FIELD, **changes})
        return made[key]

    return get


@pytest.fixture
def runs(c_pipeline, observation, tmp_path):
    return lambda **changes: Runs(tmp_path, observation(**changes).frames(), c_pipeline)


def both(read, folders, name=TABLE):
    """What is read from the products of C and ours."""
    return [read(folder / name) for folder in folders]


def set_keywords(**cards):
    """Change of a primary header; the names are those of `KEYS`."""
    return lambda hdus: [hdus[0].header.set(KEYS[name], value) for name, value in cards.items()]


KEYS = {"posang": "ESO INS DROT POSANG"}


# --- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.defect("longitude_positive_west")
def test_longitude_counts_to_the_west(runs):
    made = runs()
    c, ours = both(lambda path: fits.getval(path, f"{KEY} RVCORR"), made.three({**ROWS, "rvcorr": "bary"}))
    assert 0.01 < abs(c - ours) < 0.8  # km/s


@pytest.mark.defect("middle_of_the_rows")
def test_positions_count_from_the_middle_of_the_rows(runs):
    c, ours = both(lambda path: fits.getheader(path)["CRPIX2"], runs().three(ROWS))
    assert ours - c == pytest.approx(12.35 / 2, abs=1e-3)  # IFU 12 alone


@pytest.mark.defect("factors_untested")
def test_noise_makes_factors_of_slices(runs):
    made = runs(lambda_range=(6330.0, 6430.0), columns=70)
    options = {**ROWS, "autocalib": "deepfield", "save": "autocal,individual"}
    c, ours = both(fits.getdata, made.three(options), "AUTOCAL_FACTORS_0001.fits")
    used = c["npts"] > 0
    assert (c["corr"][used] != 1.0).mean() > 0.9
    assert (ours["corr"][ours["npts"] > 0] == 1.0).mean() > 0.5


@pytest.mark.defect("integer_keywords")
def test_integers_count_as_missing(runs):
    made = runs(posang=45.0)
    made.change("PIXTABLE_OBJECT", set_keywords(posang=45))
    c, ours = both(fits.getheader, made.three(ROWS))
    assert abs(c["CD1_2"]) < 0.01 * abs(c["CD1_1"])  # not turned
    assert abs(ours["CD1_2"]) == pytest.approx(abs(ours["CD1_1"]), rel=0.1)


@pytest.mark.defect("zero_outside_response")
def test_rows_outside_of_the_response(runs):
    def cut(hdus):
        hdus[1].data = hdus[1].data[np.abs(hdus[1].data["lambda"] - 6300.0) < 8.0]

    made = runs()
    made.change("STD_RESPONSE", cut)
    tables = {}
    for folder in (made.c(ROWS), made.ours(ROWS, compat=True), made.ours(ROWS)):
        with fits.open(folder / TABLE) as hdus:
            tables[folder.name] = {name: hdus[name].data.copy() for name in ("data", "stat", "dq", "lambda")}
    outside = np.abs(tables["c"]["lambda"] - 6300.0) > 7.5
    assert np.median(np.abs(tables["c"]["data"][outside])) > 1e17
    for name in ("data", "dq"):
        np.testing.assert_allclose(tables["compat"][name], tables["c"][name], rtol=1e-5)
    # (outside the variance of the C recipe overflows)
    np.testing.assert_allclose(tables["compat"]["stat"][~outside], tables["c"]["stat"][~outside], rtol=1e-5)
    assert not (tables["c"]["dq"] & 0x40000000).any()
    assert (tables["ours"]["dq"][outside] & 0x40000000).all()
    assert np.isnan(tables["ours"]["data"][outside]).all()


@pytest.mark.defect("water_vapour_tenfold")
def test_water_vapour_of_edlen(runs):
    made = runs(lambda_range=(4800.0, 4830.0))
    method = {"MUSE_DAR_CORRECT_METHOD": "Edlen"}
    folders = made.three({**ROWS, "astrometry": False}, method, dar_method="Edlen")
    c, ours = both(lambda path: fits.getdata(path, "ypos"), folders)
    assert 1e-4 < np.max(np.abs(c - ours)) < 0.1  # pixels


@pytest.mark.defect("lab_air_without_latitude")
def test_without_latitude_data_are_of_the_laboratory(runs):
    made = runs()
    made.change("PIXTABLE_OBJECT", lambda hdus: hdus[0].header.remove("ESO TEL GEOLAT"))
    c, ours = both(lambda path: f"{KEY} DAR CORRECT" in fits.getheader(path), made.three(ROWS))
    assert (c, ours) == (False, True)


@pytest.mark.defect("zero_outside_flat_spectrum", "flat_spectrum_first_node_lost")
def test_rows_outside_of_the_flat_field_spectrum(runs):
    def cut(hdus):
        table = hdus["PIXTABLE_FLAT_FIELD"]
        table.data = table.data[np.abs(table.data["lambda"] - 6300.0) < 8.0]
        table.data["data"][:2] *= 1.5  # the first node counts

    made = runs(flat_field=True)
    made.change("PIXTABLE_OBJECT", cut)
    made.change("STD_RESPONSE", lambda hdus: hdus[0].header.set("ESO DRS MUSE FLUX FFCORR", True))
    c, ours = both(lambda path: fits.getdata(path, "data").ravel(), made.three(ROWS))
    lam, spectra = [], []
    for folder in ("c", "ours"):
        with fits.open(made.folder / folder / TABLE) as hdus:
            lam.append(hdus["lambda"].data.ravel())
            spectra.append(hdus["PIXTABLE_FLAT_FIELD"].data.copy())
    outside = np.abs(lam[0] - 6300.0) > 10.0
    assert (c[outside] == 0.0).all()
    assert np.mean(ours[outside] == 0.0) < 0.01
    assert spectra[0]["lambda"][0] == pytest.approx(spectra[1]["lambda"][1])


# --- cube ---------------------------------------------------------------------------------------------------


def cubes(folders):
    return both(lambda path: fits.getdata(path, "DATA"), folders, FINAL)


@pytest.mark.defect("nearest_by_absolute_position")
def test_nearest_row_of_a_voxel(runs):
    made = runs()
    # with nearest the C recipe finds sources in bad values that are not in the cube
    folders = made.three({**CUBE, "resample": "nearest"}, ignore=("^ESO QC SCIPOST (NDET|POS|FWHM)",))
    c, ours = cubes(folders)
    assert np.mean(c != ours) > 0.05


@pytest.mark.defect("border_planes_take_all")
def test_border_planes_take_all_rows(runs, monkeypatch):
    def fewer_planes(hdus):
        for hdu in hdus:
            if hdu.header["NAXIS"] == 3:
                hdu.data = hdu.data[:10]
        header = next(hdu.header for hdu in hdus if "CRVAL3" in hdu.header)
        header["CRVAL3"] = 6295.0

    made = runs(output_wcs=True, n_ifu=2)
    made.change("OUTPUT_WCS", fewer_planes)
    options = {**CUBE, "crsigma": 2.0, "crtype": "mean"}
    c, _ = made.three(options)
    # the limits of the rejection alone are those of C
    monkeypatch.setattr(ParamValues, "defects", lambda _: Defects.only("rejection_by_bare_statistics"))
    c, ours = cubes((c, made.ours(options, name="one_defect")))
    assert c.shape[0] == 10
    different = (c != ours) & ~(np.isnan(c) & np.isnan(ours))
    assert different[[0, -1]].any()
    assert not different[3:-3].any()  # statistics reach one plane further, the rows they flag another one


@pytest.mark.defect("arc_sine_rounding")
def test_rounding_of_an_arc_sine(runs):
    made = runs(mode="NFM-AO-N", lambda_range=(6540.0, 6565.0), posang=12.0)
    c, ours = cubes(made.three({**CUBE, "crsigma": 0.0}))
    both_finite = np.isfinite(c) & np.isfinite(ours)
    assert (c != ours)[both_finite].any()


@pytest.mark.defect("refused_after_reduction")
def test_exposures_without_astrometry_are_refused(runs):
    options = {**ROWS, "astrometry": False}
    made = runs(n_exposures=2)
    result = made.c(options, check=False)
    assert result.returncode > 0
    assert (made.folder / "c" / TABLE).exists()  # it was reduced first
    with pytest.raises(RecipeError, match="2 exposures cannot be combined"):
        made.ours(options, compat=True)
    assert len(list(made.ours(options).iterdir())) == 2


@pytest.mark.defect("blanks_in_filter_names")
def test_blanks_between_filters(runs):
    c, ours = runs().three({**CUBE, "filter": "white, RED"})
    assert not (c / "IMAGE_FOV_0002.fits").exists()
    assert (ours / "IMAGE_FOV_0002.fits").exists()


@pytest.mark.defect("nominal_pixel_in_qc")
def test_widths_without_astrometry(runs):
    made = runs(slices=24, columns=None, n_stars=8, brightness=50.0, seeing=1.5)
    folders = made.three({**CUBE, "astrometry": False, "dx": 0.8, "dy": 0.8})
    c, ours = both(lambda path: fits.getval(path, "ESO QC SCIPOST FWHM1 X"), folders, FINAL)
    assert ours == pytest.approx(0.8 * c)  # dx is in detector pixels of 0.2 arcsec


@pytest.mark.defect("superflat_forgotten")
def test_replaced_pointing_is_forgotten(runs):
    position = "150.2,-31.0,40.0"
    options = {**CUBE, "save": "cube,individual"}
    folders = runs().three(options, {"MUSE_SUPERFLAT_POS": position}, superflat_pos=position)
    c, ours = both(lambda path: fits.getval(path, "CRVAL2", "DATA"), folders, FINAL)
    assert c == pytest.approx(-30.2, abs=0.01)
    assert ours == pytest.approx(-31.0, abs=0.01)


@pytest.mark.defect("flagged_rows_in_rejection")
def test_flagged_rows_take_part_in_the_rejection(runs):
    def flag(hdus):
        chosen = np.random.default_rng(4).random(hdus["data"].data.shape)
        hdus["data"].data[chosen < 0.1] = 1e6
        hdus["dq"].data[chosen < 0.1] |= 0x20
        hdus["data"].data[chosen > 0.99] += 2000.0  # to be found

    made = runs()
    made.change("PIXTABLE_OBJECT", flag)
    folders = made.three({**CUBE, "save": "cube,combined", "crsigma": 3.0, "crtype": "median"})
    c, ours = both(lambda path: np.sum(fits.getdata(path, "dq") != 0), folders, "PIXTABLE_COMBINED.fits")
    assert c < ours


@pytest.mark.defect("rejection_by_bare_statistics")
@pytest.mark.parametrize("method", ["mean", "iraf", "median"])
def test_limits_of_the_rejection(runs, method):
    """C finds no cosmic ray by means, takes stars for cosmic rays with `iraf`, and misses some by medians."""

    def hit(hdus):
        chosen = np.random.default_rng(5).random(hdus["data"].data.shape) < 5e-3
        hdus["data"].data[chosen] += 12.0 * np.sqrt(hdus["stat"].data[chosen])

    star = Scene((Star(4.0, 0.2, 5e4),))
    made = runs(slices=24, columns=None, lambda_range=(7085.0, 7115.0), detector=PLAIN, scene=star)
    made.change("PIXTABLE_OBJECT", hit)
    folders = made.three({**CUBE, "save": "cube,combined", "crtype": method})
    c, ours = both(lambda path: np.mean(fits.getdata(path, "dq") != 0), folders, "PIXTABLE_COMBINED.fits")
    if method == "mean":
        assert c == 0.0
    elif method == "iraf":
        assert c > 1.2 * 5e-3
    else:
        assert c < ours
    assert 0.6 * 5e-3 < ours < 1.1 * 5e-3


@pytest.mark.defect("stale_wavelength_limits")
def test_limits_of_tables_in_pixels(runs):
    folders = runs().three({**CUBE, "astrometry": False, "rvcorr": "bary"})
    c, ours = both(lambda path: fits.getval(path, "CRVAL3", "DATA"), folders, FINAL)
    assert 1e-3 < abs(c - ours) < 1.0  # Angstrom


@pytest.mark.defect("first_ifu_only_without_flux")
def test_ifus_without_fluxes(runs):
    made = runs(n_ifu=2, flat_flux=False)

    def remove(hdus):
        for key in [key for key in hdus[0].header if key.startswith("ESO DRS MUSE FLAT FLUX")]:
            del hdus[0].header[key]

    made.change("PIXTABLE_OBJECT", remove)
    c, ours = both(lambda path: fits.getdata(path, "data").size, made.three(ROWS))
    assert ours > 1.5 * c


@pytest.mark.defect("skipped_without_a_word")
def test_what_is_not_made_is_in_the_header(runs):
    made = runs()
    made.leave_out("STD_RESPONSE")
    found = both(lambda path: "ESO DRS MUSE SKIPPED FLUX" in fits.getheader(path), made.three(ROWS))
    compat = fits.getheader(made.folder / "compat" / TABLE)
    assert found == [False, True]
    assert not [key for key in compat if "SKIPPED" in key]


# --- products of the cube -----------------------------------------------------------------------------------


@pytest.mark.defect("pixel_noise_fixed_histogram")
def test_pixel_noise_of_a_noisy_cube(runs):
    folders = runs().three({**CUBE, "format": "sdpCube"})
    c, ours = both(lambda path: fits.getval(path, "PIXNOISE"), folders, FINAL)
    assert c == pytest.approx(np.sqrt(0.02) * 1e-20, rel=1e-3)
    assert ours > 1e-20


@pytest.mark.defect("limit_of_longer_step")
@pytest.mark.parametrize("angle", [None, 30.0])
def test_limiting_magnitude_where_pixels_are_not_square(runs, angle):
    """C takes the longer step for both axes, and steps in RA and Dec for those of pixels."""

    def turn(hdus):
        header = next(hdu.header for hdu in hdus if "CD1_1" in hdu.header)
        cosine, sine = np.cos(np.radians(angle)) / 3600, np.sin(np.radians(angle)) / 3600
        header["CD1_1"], header["CD1_2"] = -0.3 * cosine, 0.2 * sine
        header["CD2_1"], header["CD2_2"] = 0.3 * sine, 0.2 * cosine

    made = runs(output_wcs=angle is not None)
    if angle is not None:
        made.change("OUTPUT_WCS", turn)
    steps = {"dx": 0.3} if angle is None else {}
    folders = made.three({**CUBE, "format": "sdpCube", **steps})
    c, ours = both(lambda path: fits.getval(path, "ABMAGLIM"), folders, FINAL)
    assert abs(c - ours) > 0.5
    assert ours == pytest.approx(22.32, abs=0.05)  # whatever the angle of the grid


@pytest.mark.defect("stacked_dx_in_degrees")
def test_step_of_the_slices_side_by_side(runs):
    folders = runs().three({**CUBE, "save": "stacked", "dx": 0.2})
    c, ours = both(lambda path: fits.getdata(path, "DATA").shape[1], folders, "OBJECT_RESAMPLED.fits")
    assert c < 20
    assert ours > 100


@pytest.mark.defect("euro3d_images_cut")
def test_images_with_empty_first_columns(runs):
    def shift(hdus):
        header = next(hdu.header for hdu in hdus if "CRPIX1" in hdu.header)
        header["CRPIX1"] += 7.0

    made = runs(output_wcs=True, n_ifu=2)
    made.change("OUTPUT_WCS", shift)
    folders = made.three({**CUBE, "format": "xEuro3D"})
    c, ours = both(lambda path: np.isfinite(fits.getdata(path, "white")).sum(), folders, FINAL)
    assert c < ours


@pytest.mark.defect("euro3d_xpos_unwrapped")
def test_spectra_on_both_sides_of_right_ascension_zero(runs):
    folders = runs(center=(0.0, -30.0), n_ifu=2).three({**CUBE, "format": "Euro3D"})
    c, ours = both(lambda path: fits.getdata(path, 1)["XPOS"], folders, FINAL)
    assert c.min() < 0.0 or c.max() > 360.0
    assert ours.min() >= 0.0
    assert ours.max() <= 360.0
    np.testing.assert_allclose(ours, c % 360.0)


@pytest.mark.defect("offset_list_by_date_text")
def test_offsets_are_taken_as_they_stand(runs):
    def spoil(hdus):
        table = hdus[1]
        for n, name in enumerate(table.columns.names, 1):
            if name in ("RA_OFFSET", "DEC_OFFSET"):
                table.header[f"TUNIT{n}"] = "arcsec"

    made = runs(offsets=[(1.8, -0.9)])
    made.change("OFFSET_LIST", spoil)
    c, ours = both(lambda path: fits.getval(path, "ESO DRS MUSE OFFSET1 DRA"), made.three(CUBE), name=FINAL)
    assert abs(c) > 1e-4
    assert c == pytest.approx(3600.0 * ours)


@pytest.mark.defect("offset_list_by_date_text")
def test_the_first_of_two_offsets_is_taken(runs):
    def spoil(hdus):
        row = hdus[1].data
        hdus[1] = fits.BinTableHDU(np.concatenate([row, row]), hdus[1].header)
        hdus[1].data["RA_OFFSET"][1] += 1e-3

    made = runs(offsets=[(1.8, -0.9)])
    made.change("OFFSET_LIST", spoil)
    with pytest.raises(InputError, match="expected one row"):
        made.three(CUBE)  # by C and in the compatible mode it works, and with the same result
    assert fits.getval(made.folder / "compat" / FINAL, "ESO DRS MUSE OFFSET1 DRA") != 0.0


@pytest.mark.defect("absurd_values_used")
def test_values_that_cannot_be_are_used(runs):
    def spoil(hdus):
        hdus[1].data["extinction"] = -0.5

    made = runs()
    made.change("EXTINCT_TABLE", spoil)
    with pytest.raises(InputError, match="column extinction: expected values of 0 mag or more"):
        made.three(ROWS)  # C and the compatible mode take them, and agree
    assert (made.folder / "compat" / TABLE).exists()
