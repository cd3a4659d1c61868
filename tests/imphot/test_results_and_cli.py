# SPDX-License-Identifier: BSD-3-Clause
"""Public names, text layouts, files and command lines."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

import imphot
from imphot import cli
from imphot.images.opening import as_sky_image

SIGNATURES = {
    "fit_image_photometry": (
        "hst, muse, regions=None, fix_scale=None, fix_bg=None, fix_dx=None, fix_dy=None, "
        "fix_fwhm=None, fix_beta=None, "
        "min_scale=0, hst_fwhm=0.085, hst_beta=1.6, margin=2.0, segment=False, display=False, "
        "nowait=False, hardcopy=None, "
        "title=None, star=None, save=False, fig=None, taper=9, apply=False, resample=False, "
        "extramask=None, init_dx=None, "
        "init_dy=None"
    ),
    "fit_star_photometry": (
        "hst, muse, star, fix_fwhm=None, fix_beta=None, display=False, nowait=False, hardcopy=None, "
        "title=None, fig=None, "
        "apply=False, resample=False"
    ),
    "fit_image_and_star_photometry": (
        "hst, muse, star, regions='star', fix_scale=None, fix_bg=None, fix_dx=None, fix_dy=None, "
        "fix_fwhm=None, "
        "fix_beta=None, hst_fwhm=0.085, hst_beta=1.6, margin=2.0, segment=False, display=False, "
        "nowait=False, "
        "hardcopy=None, title=None, save=False, fig=None"
    ),
    "apply_corrections": "im, imfit, corrections='xy,scale,zero', resample=False, inplace=False",
    "image_grids_aligned": "im1, im2, tolerance=0.01",
    "regrid_hst_like_muse": "hst, muse, inplace=True",
    "rescale_hst_like_muse": "hst, muse, inplace=True",
    "extract_function_args": "options, function",
    "FitImagePhotometryMP": "hst_filename, muse_filenames, kwargs={}, nworker=0",
    "FitStarPhotometryMP": "hst_filename, muse_filenames, kwargs, nworker=0",
    "FitImageAndStarPhotometryMP": "hst_filename, muse_filenames, kwargs, nworker=0",
    "FittedValue": "param=None, value=None, stdev=None, fixed=None",
    "FittedPhotometry": "method, muse, fit_report, scale, bg, dx, dy, fwhm, beta, rms_error",
    "FittedImagePhotometry": "muse, results, rms_error",
    "FittedStarPhotometry": "muse, muse_results, hst_results, rms_error, ra, dec",
    "HstFilterInfo": "hst",
    "WorkerError": "message, traceback",
    "UserError": "message",
    "fit_photometry_main": "",
    "regrid_hst_to_muse_main": "",
    "make_wideband_image_main": "",
}


@pytest.mark.unit
@pytest.mark.parametrize("name", SIGNATURES)
def test_documented_signatures(name):
    """New arguments may follow the documented ones, never come between."""
    parameters = inspect.signature(getattr(imphot, name)).parameters.values()
    assert all(p.annotation is not p.empty for p in parameters)
    found = ", ".join(str(p.replace(annotation=p.empty)) for p in parameters)
    assert found.startswith(SIGNATURES[name])


@pytest.mark.unit
def test_wavelengths_are_in_angstrom_unless_said():
    from astropy import units

    assert inspect.signature(imphot.bandpass_image).parameters["unit_wave"].default == units.Angstrom


@pytest.mark.unit
def test_import_is_light():
    code = (
        "import imphot, sys; print([m for m in ('numpy', 'astropy', 'mpdaf', 'matplotlib', "
        "'lmfit') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert all(hasattr(imphot, name) for name in imphot.__all__)


@pytest.mark.unit
def test_fit_without_mpdaf(pair):
    code = (
        "import sys; sys.modules['mpdaf'] = None\nimport imphot\n"
        f"print(imphot.fit_image_photometry({pair[0]!r}, {pair[1]!r}, method='image', "
        "fix_beta=2.5).summary(header=False))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("field_muse  image")


@pytest.mark.unit
def test_summary_layout(pair):
    values = [imphot.FittedValue(value=v) for v in (0.9186, 0.51718, 0.12564, -0.27045, 0.6469, 2.512)]
    scale, bg, dx, dy, fwhm, beta = values
    muse = as_sky_image(pair[1]).copy()
    muse.filename = "/somewhere/t1_muse.fits"
    fit = imphot.FittedPhotometry("image", muse, "report", scale, bg, dx, dy, fwhm, beta, 0.1478)
    lines = fit.summary().split("\n")
    assert lines[0] == (
        "# MUSE ID Method  Flux    FWHM    beta     Flux    x-offset  y-offset  ra-offset dec-offset  RMS"
    )
    assert lines[1] == (
        "#               scale  arcsec           offset    arcsec    arcsec    arcsec    arcsec    error"
    )
    assert lines[2] == (
        "#------ ------ ------- ------- ------- --------- --------- --------- --------- --------- -------"
    )
    assert lines[3].startswith("t1_muse  image  0.9186  0.6469  2.5120   0.51718   0.12564  -0.27045  -0.14")
    assert lines[3].endswith("  -0.27045  0.1478") and fit.summary(header=False) == lines[3]
    assert str(fit) == "Report of HST image photometry fit of MUSE observation t1_muse\nreport"


@pytest.mark.unit
def test_report_is_that_of_lmfit(pair, regridded):
    for method, hst in (("fourier", regridded), ("image", pair[0])):
        text = str(imphot.fit_image_photometry(hst, pair[1], method=method, fix_beta=2.5))
        for word in ("[[Model]]", "[[Fit Statistics]]", "[[Variables]]", "beta:   2.5 (fixed)", "+/-"):
            assert word in text


@pytest.fixture
def folder(pair, regridded, tmp_path, monkeypatch):
    for source, name in (
        (pair[0], "hst.fits"),
        (regridded, "grid.fits"),
        (pair[1], "a_muse.fits"),
        (pair[1], "b_muse.fits"),
    ):
        shutil.copy(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(function, capsys, monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["script", *args])
    status = 0
    try:
        function()
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr().out


@pytest.mark.unit
def test_fit_photometry(folder, capsys, monkeypatch, star):
    main = imphot.fit_photometry_main
    status, out = run(
        main, capsys, monkeypatch, "--save", "--apply", "--hardcopy", "png", "grid.fits", "a_muse.fits"
    )
    assert status == 0 and out.count("\n") == 4 and " 2.5000 " in out
    made = {p.name for p in folder.glob("a_muse_*")}
    words = "image hst_model residual image_fft hst_model_fft residual_fft aligned"
    assert made == {f"a_muse_{w}.fits" for w in words.split()} | {"a_muse_image_fit.png"}
    with fits.open(folder / "a_muse_residual.fits") as hdus:
        residual, header = hdus[0].data, hdus[0].header
        assert residual.dtype == ">f8" and header["OBJECT"] == "field" and "CD1_1" in header
    image, model = (fits.getdata(folder / f"a_muse_{w}.fits") for w in ("image", "hst_model"))
    np.testing.assert_allclose(image - model, residual)
    with fits.open(folder / "a_muse_image_fft.fits") as hdus:
        full = hdus[0].data
        assert full.shape == (128, 128) and hdus[0].header["CRPIX1"] == 65
    padded = np.zeros((128, 128))
    padded[: image.shape[0], : image.shape[1]] = image
    # the filtered image reaches a little beyond the crop, whose transform is therefore not quite the same
    np.testing.assert_allclose(full, np.abs(np.fft.fftshift(np.fft.fft2(padded))), atol=0.02 * full.max())
    place = [str(v) for v in star]
    status, out = run(
        main,
        capsys,
        monkeypatch,
        "--method",
        "image",
        "--verbose",
        "--star",
        *place,
        "hst.fits",
        "a_muse.fits",
        "b_muse.fits",
    )
    assert status == 0 and out.count("# MUSE ID") == 1 and out.count("[[Variables]]") == 6
    assert [line.split()[:2] for line in out.splitlines() if line.startswith(("a_muse ", "b_muse "))] == [
        ["a_muse", "image"],
        ["a_muse", "stars"],
        ["b_muse", "image"],
        ["b_muse", "stars"],
    ]


@pytest.mark.unit
def test_one_bad_image_of_several_is_named(folder):
    """One line on standard output, status 1, nothing else."""
    with fits.open(folder / "b_muse.fits", mode="update") as hdus:
        hdus["DATA"].header["CRVAL2"] = 5.0
    code = "import imphot; imphot.fit_photometry_main()"
    options = ["--method", "image", "hst.fits", "b_muse.fits", "a_muse.fits"]
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr == ""
    assert done.stdout.startswith("b_muse.fits: ") and done.stdout.count("\n") == 1


@pytest.mark.unit
def test_options_reach_the_star_mode_too(folder, capsys, monkeypatch, star):
    """--apply, --taper and --extramask were dropped in silence together with --star."""
    mask = np.zeros((80, 80), np.uint8)
    mask[:30] = 1
    fits.PrimaryHDU(mask).writeto(folder / "mask.fits")
    place = [str(v) for v in star]
    common = ("--regions", "none", "--star", *place, "--fix_beta", "2.5")
    _, plain = run(imphot.fit_photometry_main, capsys, monkeypatch, *common, "grid.fits", "a_muse.fits")
    for extra in (("--extramask", "mask.fits"), ("--taper", "0")):
        _, other = run(
            imphot.fit_photometry_main, capsys, monkeypatch, *common, *extra, "grid.fits", "a_muse.fits"
        )
        assert other.splitlines()[3] != plain.splitlines()[3]
    run(imphot.fit_photometry_main, capsys, monkeypatch, *common, "--apply", "grid.fits", "a_muse.fits")
    assert (folder / "a_muse_aligned.fits").exists()


@pytest.mark.unit
def test_regrid_script(folder, capsys, monkeypatch):
    status, out = run(imphot.regrid_hst_to_muse_main, capsys, monkeypatch, "a_muse.fits", "hst.fits")
    assert status == 0 and "hst_F775W_for_a_muse.fits" in out
    assert imphot.image_grids_aligned("hst_F775W_for_a_muse.fits", "a_muse.fits")
    status, out = run(
        imphot.regrid_hst_to_muse_main,
        capsys,
        monkeypatch,
        "--quiet",
        "--field",
        "udf",
        "a_muse.fits",
        "hst.fits",
    )
    assert (status, out) == (0, "") and (folder / "hst_F775W_for_udf.fits").exists()


@pytest.mark.unit
def test_wideband_script(folder, capsys, monkeypatch):
    from tests.imphot.test_bandpass import write_cube

    write_cube(folder / "mini_DATACUBE.fits", np.ones((20, 4, 5)), np.ones((20, 4, 5)))
    np.savetxt(folder / "tri.dat", [[500.5, 0.0], [501.0, 1.0], [501.5, 0.0]])
    main = imphot.make_wideband_image_main
    status, out = run(
        main, capsys, monkeypatch, "--quiet", "--wave_units", "nm", "tri.dat", "mini_DATACUBE.fits"
    )
    assert (status, out) == (0, "")
    with fits.open(folder / "tri_mini_IMAGE.fits") as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "DATA", "STAT", "DQ"]
    assert cli.wideband_name("x", "My_Cube_cube.fits") == "x_My_IMAGE_cube.fits"
    assert cli.wideband_name("x", "a_datacube.fits") == "x_a_image.fits"
    assert run(main, capsys, monkeypatch, "--wave_units", "kg", "tri.dat", "mini_DATACUBE.fits")[0] == 1
    assert run(main, capsys, monkeypatch, "none.dat", "mini_DATACUBE.fits")[0] == 1


@pytest.mark.unit
def test_parser():
    parser = imphot.ImphotArgumentParser(imphot.FIT_BOTH)
    assert imphot.ImphotArgumentParser.FIT_IMAGE == 1 and imphot.FIT_STAR == 2
    options = parser.parse_args(["--fix_beta", "none", "--star", "1", "2", "3", "--fix_dx", "-0.5"])
    assert options.fix_beta is None and options.star == [1, 2, 3] and options.fix_dx == -0.5
    defaults = parser.parse_args([])
    assert (defaults.regions, defaults.fix_beta, defaults.taper, defaults.hardcopy) == (
        "star",
        2.5,
        9,
        "none",
    )
    kwargs = imphot.extract_function_args(options, imphot.fit_star_photometry)
    assert "star" in kwargs and "segment" not in kwargs
    assert imphot.extract_function_args({"star": 1, "other": 2}, imphot.fit_star_photometry) == {"star": 1}
    with pytest.raises(imphot.UserError, match="could not convert"):
        parser.parse_args(["--fix_dx", "abc"])
    star_only = imphot.ImphotArgumentParser(imphot.FIT_STAR).parse_args([])
    assert not hasattr(star_only, "regions") and hasattr(star_only, "fix_fwhm")


@pytest.mark.unit
def test_plots(pair, star, tmp_path):
    from matplotlib.figure import Figure

    figure = Figure()
    imphot.fit_image_photometry(*pair, method="image", fix_beta=2.5, fig=figure, title="my title")
    assert len(figure.axes) == 12 and figure.get_suptitle() == "my title"
    shutil.copy(pair[1], tmp_path / "m.fits")
    imphot.fit_star_photometry(
        pair[0], str(tmp_path / "m.fits"), star, method="image", hardcopy="pdf", fig=figure
    )
    assert len(figure.axes) == 4 and (tmp_path / "m_star_fit.pdf").stat().st_size > 2000
    with pytest.raises(imphot.UserError, match="format"):
        imphot.fit_star_photometry(pair[0], str(tmp_path / "m.fits"), star, method="image", hardcopy="xyz")
