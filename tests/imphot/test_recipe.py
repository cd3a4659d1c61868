# SPDX-License-Identifier: BSD-3-Clause
"""The recipe muse_imphot."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

import imphot
from muse_core.framework import RecipeError, run_recipe
from tests.imphot.test_bandpass import write_cube


@pytest.fixture(scope="module")
def two(sky, truth, noiseless, tmp_path_factory):
    from muse_core.simulate.imphot_pairs import write_pair

    folder = tmp_path_factory.mktemp("two")
    names = [
        write_pair(folder, f"e{i}", noiseless, truth, i, f"2026-01-0{i + 1}T01:02:03.456") for i in range(2)
    ]
    return [(str(muse), "IMAGE_FOV") for _, muse in names], str(names[0][0])


@pytest.mark.unit
def test_products(two, truth, tmp_path):
    images, hst = two
    options = {"fix_beta": "none", "apply": True, "save": "model,residual, fft,hst,plot", "nproc": 2}
    products = run_recipe("muse_imphot", [*images, (hst, "REFERENCE_IMAGE")], options, workdir=tmp_path)
    series = (
        "IMAGE_FOV_ALIGNED",
        "IMPHOT_MODEL",
        "IMPHOT_RESIDUAL",
        "IMPHOT_FFT",
        "HST_IMAGE_REGRID",
        "IMPHOT_PLOT",
    )
    expected = {"IMPHOT_TABLE.fits", "OFFSET_LIST.fits"} | {
        f"{tag}_{i:04d}.fits" for tag in series for i in (1, 2)
    }
    assert {p.path.name for p in products} == expected
    with fits.open(tmp_path / "IMPHOT_TABLE.fits", checksum=True) as hdus:
        rows, header = hdus[1].data, hdus[0].header
        assert list(rows["NAME"]) == ["e0_muse", "e1_muse"] and list(rows["METHOD"]) == ["image", "image"]
        direct = imphot.fit_image_photometry(hst, images[0][0], method="image")
        for name in ("SCALE", "BG", "DX", "DY", "DRA", "DDEC", "FWHM", "BETA"):
            value = getattr(direct, name.lower())
            # the optimiser stops within 1e-9; another process, the same numbers
            assert rows[name][0] == pytest.approx(value.value, rel=1e-6, abs=1e-9)
            assert rows[f"{name}_ERR"][0] == pytest.approx(value.stdev, rel=1e-6)
            assert not rows[f"{name}_FIXED"][0]
        assert header["ESO QC IMPHOT FWHM"] == pytest.approx(np.median(rows["FWHM"]))
        assert header["ESO PRO CATG"] == "IMPHOT_TABLE" and header["ESO PRO REC1 RAW2 NAME"] == "e1_muse.fits"
    with fits.open(tmp_path / "OFFSET_LIST.fits") as hdus:
        offsets = hdus[1].data
        assert offsets.names == ["DATE_OBS", "MJD_OBS", "RA_OFFSET", "DEC_OFFSET", "FLUX_SCALE"]
        assert list(offsets["DATE_OBS"]) == ["2026-01-01T01:02:03.456", "2026-01-02T01:02:03.456"]
        np.testing.assert_allclose(offsets["RA_OFFSET"], rows["DRA"] / 3600)
        np.testing.assert_allclose(offsets["DEC_OFFSET"], rows["DDEC"] / 3600)
        np.testing.assert_allclose(offsets["FLUX_SCALE"], 1 / rows["SCALE"])
    # the corrected image needs no correction any more
    again = imphot.fit_image_photometry(
        hst, str(tmp_path / "IMAGE_FOV_ALIGNED_0001.fits"), method="image", fix_beta=2.5
    )
    assert (
        abs(again.dx.value) < 1e-3
        and again.scale.value == pytest.approx(1.0, abs=0.03)
        and abs(again.bg.value) < 0.05
    )
    residual = fits.getdata(tmp_path / "IMPHOT_RESIDUAL_0001.fits", "DATA")
    assert np.nanstd(residual) == pytest.approx(truth.noise, rel=0.05)
    assert imphot.image_grids_aligned(str(tmp_path / "HST_IMAGE_REGRID_0001.fits"), images[0][0])
    plot = fits.getdata(tmp_path / "IMPHOT_PLOT_0001.fits", "PLOT")
    assert plot.shape[0] == 3 and plot.std() > 10


@pytest.mark.unit
@pytest.mark.parametrize("method", ["fourier", "star", "both"])
def test_methods(two, star, truth, method, tmp_path):
    images, hst = two
    options = {"method": method, "star_ra": str(star[0]), "star_dec": str(star[1]), "nproc": 1}
    run_recipe("muse_imphot", [images[0], (hst, "HST_IMAGE")], options, workdir=tmp_path)
    rows = fits.getdata(tmp_path / "IMPHOT_TABLE.fits", 1)
    assert (
        list(rows["METHOD"]) == {"fourier": ["fourier"], "star": ["star"], "both": ["image", "star"]}[method]
    )
    np.testing.assert_allclose(rows["DX"], truth.dx, atol=0.05)


@pytest.mark.unit
def test_cube_and_choice_of_the_reference(two, pair, truth, tmp_path):
    images, hst = two
    with fits.open(images[0][0]) as hdus:
        data, header = hdus["DATA"].data, hdus["DATA"].header
        cube = np.repeat(data[None], 5, axis=0)
        name = write_cube(tmp_path / "cube.fits", cube, np.full(cube.shape, 5.0), first=7600.0, step=50.0)
        with fits.open(name, mode="update") as made:
            for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
                for hdu in made[1:]:
                    hdu.header[key] = header[key]
            made["DATA"].header["BUNIT"] = header["BUNIT"]
            made[0].header["DATE-OBS"] = "2026-01-05T00:00:00"
    curve = fits.BinTableHDU.from_columns(
        [
            fits.Column("lambda", "D", array=[7580.0, 7700.0, 7900.0]),
            fits.Column("throughput", "D", array=[0.1, 1.0, 0.2]),
        ],
        name="ACS_F775W",
    )
    fits.HDUList([fits.PrimaryHDU(), curve]).writeto(tmp_path / "filters.fits")
    with fits.open(hst) as hdus:
        hdus[0].header["FILTER"] = "F814W"
        hdus[0].data = hdus[0].data * 0.0 + 1.0
        hdus.writeto(tmp_path / "wrong.fits")
    frames = [
        (name, "DATACUBE_FINAL"),
        (str(tmp_path / "wrong.fits"), "HST_IMAGE"),
        (hst, "HST_IMAGE"),
        (str(tmp_path / "filters.fits"), "FILTER_LIST"),
    ]
    run_recipe("muse_imphot", frames, {"filter": "ACS_F775W"}, workdir=tmp_path)
    row = fits.getdata(tmp_path / "IMPHOT_TABLE.fits", 1)[0]
    assert row["DX"] == pytest.approx(truth.dx, abs=0.02) and row["SCALE"] == pytest.approx(
        truth.scale, abs=0.1
    )
    with pytest.raises(RecipeError, match="is not in"):
        run_recipe("muse_imphot", frames, {"filter": "Johnson_B"}, workdir=tmp_path)
    with pytest.raises(RecipeError, match="Set the parameter filter"):
        run_recipe("muse_imphot", [images[0], *frames[1:]], {"filter": "F606W"}, workdir=tmp_path)


@pytest.mark.unit
def test_region_mask_and_psf_files(two, tmp_path):
    from imphot.engines.moffat import moffat_profile

    images, hst = two
    (tmp_path / "a.reg").write_text("image\n-circle(40,40,10)\n", encoding="utf-8")
    mask = np.zeros((80, 80), np.uint8)
    mask[:10] = 1
    fits.PrimaryHDU(mask).writeto(tmp_path / "mask.fits")
    r = (np.arange(101) - 50) * 0.03
    fits.PrimaryHDU(moffat_profile(r[:, None] ** 2 + r**2, 0.085, 1.6)).writeto(tmp_path / "psf.fits")
    extra = [("a.reg", "IMPHOT_REGIONS"), ("mask.fits", "IMPHOT_MASK"), ("psf.fits", "HST_PSF")]
    frames = [images[0], (hst, "HST_IMAGE"), *((str(tmp_path / name), tag) for name, tag in extra)]
    run_recipe("muse_imphot", frames, {}, workdir=tmp_path)
    row = fits.getdata(tmp_path / "IMPHOT_TABLE.fits", 1)[0]
    assert row["NPIX"] == pytest.approx(6400 - 800 - 314, abs=10) and row["FLAG"] == 0


@pytest.mark.unit
def test_untrusted_fit_gets_no_offset(two, tmp_path):
    images, hst = two
    with fits.open(images[0][0]) as hdus:
        hdus["DATA"].data = np.random.default_rng(1).standard_normal((80, 80)).astype(np.float32)
        hdus.writeto(tmp_path / "noise.fits")
    products = run_recipe(
        "muse_imphot", [(str(tmp_path / "noise.fits"), "IMAGE_FOV"), (hst, "HST_IMAGE")], {}, workdir=tmp_path
    )
    assert [p.tag for p in products] == ["IMPHOT_TABLE"]
    assert fits.getdata(tmp_path / "IMPHOT_TABLE.fits", 1)["FLAG"][0] & 2


@pytest.mark.unit
def test_bad_input(two, tmp_path):
    images, hst = two
    for frames, options, text in (
        ([(hst, "HST_IMAGE")], {}, "at least one IMAGE_FOV"),
        ([images[0]], {}, "at least one HST_IMAGE"),
        ([(images[0][0], "DATACUBE_FINAL"), (hst, "HST_IMAGE")], {}, "FILTER_LIST"),
        ([images[0], (hst, "HST_IMAGE")], {"fix_dx": "abc"}, "neither a number nor none"),
        ([images[0], (hst, "HST_IMAGE")], {"save": "model,everything"}, "'everything' is not one of"),
        ([images[0], (hst, "HST_IMAGE")], {"method": "star"}, "star_ra"),
        (
            [images[0], (images[0][0], "HST_IMAGE"), (images[1][0], "HST_IMAGE")],
            {},
            "Set the parameter filter",
        ),
    ):
        with pytest.raises(RecipeError, match=text):
            run_recipe("muse_imphot", frames, options, workdir=tmp_path)
    assert not list(tmp_path.glob("*.fits"))


@pytest.mark.unit
def test_every_fault_names_its_file(two, tmp_path):
    images, hst = two
    text = tmp_path / "text.fits"
    text.write_text("not a FITS file", encoding="utf-8")
    regions = tmp_path / "bad.reg"
    regions.write_text("fk5; circle(a,2,3)", encoding="utf-8")
    everything = tmp_path / "all.reg"
    everything.write_text("image; -box(40,40,500,500,0)", encoding="utf-8")
    good = [images[0], (hst, "HST_IMAGE")]
    for frames, options, words in (
        ([*good, (text, "HST_PSF")], {}, "HST_PSF.*text.fits"),
        ([*good, (text, "IMPHOT_MASK")], {}, "text.fits"),
        ([*good, (regions, "IMPHOT_REGIONS")], {}, "bad.reg.*line 1"),
        ([*good, (everything, "IMPHOT_REGIONS")], {}, "e0.*exclude the whole"),
        ([images[0], (text, "HST_IMAGE")], {}, "text.fits.*FITS"),
        ([(text, "IMAGE_FOV"), good[1]], {}, "text.fits.*FITS"),
        (
            [(images[0][0], "DATACUBE_FINAL"), good[1], (text, "FILTER_LIST")],
            {"filter": "F775W"},
            "text.fits: FILTER_LIST",
        ),
    ):
        with pytest.raises(RecipeError, match=words):
            run_recipe("muse_imphot", frames, options, workdir=tmp_path)


@pytest.mark.unit
@pytest.mark.parametrize("method", ["image", "fourier", "star"])
def test_regridded_reference_must_have_the_pixels(two, regridded, star, tmp_path, method):
    images, _ = two
    with fits.open(regridded) as hdus:
        angle = np.radians(0.1)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        header = hdus[1].header
        cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)]) @ turn
        for i in (1, 2):
            for j in (1, 2):
                header[f"CD{i}_{j}"] = cd[i - 1, j - 1]
        hdus.writeto(tmp_path / "turned.fits")
    options = {"method": method, "star_ra": str(star[0]), "star_dec": str(star[1])}
    with pytest.raises(RecipeError, match="turned.fits.*the pixels of .*regrid_hst_to_muse"):
        run_recipe(
            "muse_imphot",
            [images[0], (tmp_path / "turned.fits", "HST_IMAGE_REGRID")],
            options,
            workdir=tmp_path,
        )
    (table, _) = run_recipe(
        "muse_imphot", [images[0], (regridded, "HST_IMAGE_REGRID")], options, workdir=tmp_path
    )
    assert abs(fits.getdata(table.path, 1)["DX"][0] - 0.12) < 0.02


@pytest.mark.unit
def test_command_line(two, tmp_path):
    """Products through muserun; an impossible input ends with 255 and one error, no traceback."""
    import subprocess
    import sys

    images, hst = two
    command = [
        sys.executable,
        "-m",
        "muse_core.hosts.muserun",
        f"--output-dir={tmp_path}",
        f"--log-dir={tmp_path}",
        "muse_imphot",
    ]
    with fits.open(hst) as hdus:
        hdus[0].header["CRVAL2"] = 10.0
        hdus.writeto(tmp_path / "far.fits")
    for reference, status in ((hst, 0), (tmp_path / "far.fits", 255)):
        sof = tmp_path / "imphot.sof"
        sof.write_text(f"{images[0][0]} IMAGE_FOV\n{reference} HST_IMAGE\n", encoding="utf-8")
        result = subprocess.run(
            [*command, "--fix_beta=none", str(sof)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert result.returncode == status, result.stdout + result.stderr
        assert "Traceback" not in result.stdout + result.stderr
        assert status or result.stderr == ""
    assert (tmp_path / "OFFSET_LIST.fits").exists()
    assert result.stderr.count("overlap") + result.stderr.count("same part of the sky") == 1


@pytest.mark.law
def test_two_runs_in_two_threads_keep_their_messages(two, tmp_path):
    """Each log holds the messages of the library about its own image, and no others."""
    import logging
    from concurrent.futures import ThreadPoolExecutor

    class Keep(logging.Handler):
        def __init__(self):
            super().__init__()
            self.lines = []

        def emit(self, record):
            self.lines.append((record.levelname, record.getMessage()))

    images, hst = two

    def one(index, min_scale):
        keep, folder = Keep(), tmp_path / str(index)
        folder.mkdir()
        options = {"min_scale": min_scale, "nproc": 1}
        run_recipe(
            "muse_imphot", [images[index], (hst, "HST_IMAGE")], options, workdir=folder, handlers=[keep]
        )
        return [line for level, line in keep.lines if level == "WARNING"]

    with ThreadPoolExecutor(2) as pool:
        limited, free = pool.map(one, (0, 1), (1.3, 0.0))
    assert any("e0_muse: scale at its lower limit" in line for line in limited)
    assert not any("e1_muse" in line for line in limited)
    assert free == []
