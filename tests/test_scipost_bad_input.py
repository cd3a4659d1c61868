# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost and mistakes: a clear message with file and item, esorex's exit codes, no half-made file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, ParameterError, RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit
OPTIONS = {"skymethod": "none", "save": "cube", "rvcorr": "none"}


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("bad"),
        seed=2,
        n_ifu=2,
        slices=4,
        columns=12,
        lambda_range=(6290.0, 6310.0),
        lsf="table",
    )


@pytest.fixture
def run(tmp_path):
    def run(frames, **options):
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        return run_recipe("muse_scipost", frames, {**OPTIONS, **options}, workdir=folder)

    return run


def changed(observation, tmp_path, change, tag="PIXTABLE_OBJECT", every=False):
    """Frames of the observation with the files of one tag changed."""
    frames, done = [], False
    for path, file_tag in observation.frames():
        if file_tag == tag and (every or not done):
            copy = tmp_path / path.name
            with fits.open(path) as hdus:
                new = change(hdus) or hdus
                new.writeto(copy, overwrite=True)
            path, done = copy, True
        frames.append((path, file_tag))
    return frames


def without_column(name):
    def change(hdus):
        return fits.HDUList([hdu for hdu in hdus if hdu.name.lower() != name])

    return change


def shorter_column(hdus):
    hdus["data"].data = hdus["data"].data[:-5]


def integer_column(hdus):
    hdus["stat"].data = hdus["stat"].data.astype(np.int32)


def no_rows(hdus):
    for hdu in hdus[1:]:
        hdu.data = hdu.data[:0]


def remove(key):
    def change(hdus):
        del hdus[0].header[key]

    return change


FAULTS = {
    "missing column": (without_column("stat"), ("column stat", "expected an extension")),
    "lengths": (shorter_column, ("expected equal lengths", "data")),
    "type": (integer_column, ("column stat", "32-bit float")),
    "empty": (no_rows, ("an empty table",)),
    "no type": (remove("ESO DRS MUSE PIXTABLE TYPE"), ("ESO DRS MUSE PIXTABLE TYPE", "GEOFULL")),
    "no mode": (remove("ESO INS MODE"), ("ESO INS MODE",)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_damaged_pixel_tables_are_named(name, observation, run, tmp_path):
    change, words = FAULTS[name]
    frames = changed(observation, tmp_path, change)
    with pytest.raises(InputError) as error:
        run(frames)
    assert frames[0][0].name in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert not list((tmp_path / "out").iterdir())


def test_all_faults_are_reported_together(observation, run, tmp_path):
    frames = changed(observation, tmp_path, without_column("dq"), every=True)
    response = fits.BinTableHDU.from_columns([fits.Column("lambda", "D", array=[1.0, 2.0])])
    fits.HDUList([fits.PrimaryHDU(), response]).writeto(tmp_path / "response.fits")
    frames = [(tmp_path / "response.fits", t) if t == "STD_RESPONSE" else (p, t) for p, t in frames]
    with pytest.raises(InputError) as error:
        run(frames)
    assert len(error.value.faults) == 3
    assert "column response" in str(error.value)
    assert sum("column dq" in str(fault) for fault in error.value.faults) == 2


def test_truncated_table(observation, run, tmp_path):
    path = observation.paths("PIXTABLE_OBJECT")[0]
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="truncated|not readable|end of file|an extension"):
        run([(copy, "PIXTABLE_OBJECT"), *observation.frames(without=("PIXTABLE_OBJECT",))])


@pytest.mark.parametrize("content", [b"", b"no FITS file at all\n" * 200])
def test_unreadable_table_alone_is_an_error(content, observation, run, tmp_path):
    copy = tmp_path / "broken.fits"
    copy.write_bytes(content)
    with pytest.raises(InputError, match="broken.fits"):
        run([(copy, "PIXTABLE_OBJECT"), *observation.frames(without=("PIXTABLE_OBJECT",))])


def test_unreadable_table_among_others_is_left_out(observation, run, tmp_path, caplog):
    copy = tmp_path / "broken.fits"
    copy.write_bytes(b"nothing")
    assert run([(copy, "PIXTABLE_OBJECT"), *observation.frames()])
    assert "broken.fits" in caplog.text
    assert "will be ignored" in caplog.text


def test_no_pixel_table(observation, run):
    with pytest.raises(InputError, match="input PIXTABLE_OBJECT"):
        run(observation.frames(without=("PIXTABLE_OBJECT",)))


def test_no_rows_after_the_cut(observation, run):
    with pytest.raises(RecipeError, match="contains no entries after cutting to 8000.000"):
        run(observation.frames(), lambdamin=8000.0)


def test_same_ifu_twice_is_left_out_with_a_warning(observation, run, tmp_path, caplog):
    copy = tmp_path / "again.fits"
    shutil.copy(observation.paths("PIXTABLE_OBJECT")[0], copy)
    assert run([*observation.frames(), (copy, "PIXTABLE_OBJECT")])
    assert "we already have IFU" in caplog.text
    assert "again.fits" in caplog.text


def test_nan_and_infinite_values_are_data(observation, run, tmp_path):
    def change(hdus):
        hdus["data"].data[::7] = np.nan
        hdus["data"].data[3::7] = np.inf
        hdus["dq"].data[::7] = 1
        hdus["dq"].data[3::7] = 1

    products = run(changed(observation, tmp_path, change, every=True))
    with fits.open(next(p.path for p in products if p.tag == "DATACUBE_FINAL")) as cube:
        assert np.isfinite(cube["DATA"].data).any()
        assert not np.isinf(cube["DATA"].data).any()


def test_all_rows_bad_gives_an_empty_cube(observation, run, tmp_path):
    def change(hdus):
        hdus["dq"].data[:] = 1

    products = run(changed(observation, tmp_path, change, every=True))
    with fits.open(next(p.path for p in products if p.tag == "DATACUBE_FINAL")) as cube:
        assert np.isnan(cube["DATA"].data).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resample": "Drizzle"}, ("resample", "nearest")),
        ({"crsigma": "high"}, ("crsigma", "not a number")),
        ({"ld": 1.5}, ("ld", "not an integer")),
        ({"astrometry": "maybe"}, ("astrometry", "TRUE or FALSE")),
        ({"skymode": "none"}, ("no parameter 'skymode'", "did you mean 'skymethod'")),
        ({"ld": "x", "rc": "y"}, ("parameter ld", "parameter rc")),
    ],
)
def test_bad_parameters(options, words, observation, run):
    with pytest.raises(ParameterError) as error:
        run(observation.frames(), **options)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"dx": -0.2}, "parameter dx"),
        ({"pixfrac": "0.8,0"}, "parameter pixfrac: 0.0 is not above 1e-06"),
        ({"pixfrac": "0.8,half"}, "parameter pixfrac: 'half'"),
        ({"sky_crsigma": "15."}, "parameter sky_crsigma"),
        ({"superflat_pos": "10.5,-20"}, "parameter superflat_pos: .* 3 are expected"),
        ({"save": "everything"}, "is not one of cube"),
        ({"lambdamin": 9e3, "lambdamax": 5e3}, "lambdamin"),
    ],
)
def test_impossible_parameters(options, word, observation, run):
    with pytest.raises(RecipeError, match=word):
        run(observation.frames(), **options)


def without_values(column, value):
    def change(hdus):
        hdus[1].data[column] = value

    return change


@pytest.mark.parametrize(
    ("tag", "column", "value"),
    [
        ("STD_RESPONSE", "response", np.nan),
        ("STD_RESPONSE", "resperr", np.nan),
        ("STD_TELLURIC", "ftelluric", 0),
    ],
)
def test_curves_without_a_usable_row_are_named(tag, column, value, observation, run, tmp_path):
    frames = changed(observation, tmp_path, without_values(column, value), tag)
    with pytest.raises(InputError, match=f"columns lambda, .*{column}.*none in"):
        run(frames)
    assert not list((tmp_path / "out").iterdir())


def test_continuum_away_from_the_data(observation, run, tmp_path):
    frames = changed(
        observation, tmp_path, without_values("lambda", np.linspace(9000, 9100, 48)), "SKY_CONTINUUM"
    )
    with pytest.raises(
        RecipeError, match="SKY_CONTINUUM, column lambda: .*6290.* found 9000.0 .. 9100.0 Angst"
    ):
        run(frames, skymethod="subtract-model")


def test_range_without_sky_lines(observation, run, tmp_path, caplog):
    """As in C the continuum is subtracted alone; a list in other units is a mistake."""
    with fits.open(next(p for p, t in observation.frames() if t == "SKY_LINES")) as hdus:
        lam = np.array(hdus["LINES"].data["lambda"])
    far = changed(observation, tmp_path, without_values("lambda", lam + 2000), "SKY_LINES")
    far = [frame for frame in far if frame[1] != "SKY_CONTINUUM"]
    products = run(far, skymethod="model", save="skymodel")
    assert "No line of SKY_LINES lies in the range" in caplog.text
    with fits.open(next(p.path for p in products if p.tag == "SKY_LINES")) as hdus:
        assert len(hdus["LINES"].data) == 0
    nm = changed(observation, tmp_path, without_values("lambda", lam / 10), "SKY_LINES")
    with pytest.raises(RecipeError, match="column lambda: expected wavelengths in Angstrom"):
        run(nm, skymethod="model")


def test_exposures_without_astrometry_are_not_combined(observation, run, tmp_path):
    frames = list(observation.frames())
    for path in observation.paths("PIXTABLE_OBJECT"):
        with fits.open(path) as hdus:
            hdus[0].header["DATE-OBS"] = "2017-02-17T06:00:00.000"
            hdus.writeto(tmp_path / path.name)
        frames.append((tmp_path / path.name, "PIXTABLE_OBJECT"))
    with pytest.raises(RecipeError, match="2 exposures cannot be combined with astrometry=false"):
        run(frames, astrometry=False)
    assert len(run(frames, astrometry=False, save="individual")) == 2


@pytest.mark.parametrize("tag", ["SKY_LINES", "LSF_PROFILE"])
def test_sky_model_without_its_frames(tag, observation, run):
    with pytest.raises(InputError, match=f"input {tag}"):
        run(observation.frames(without=(tag,)), skymethod="model")


CALIBRATIONS = {
    "not FITS": (lambda path: path.write_text("hello"), "readable FITS file"),
    "no table": (lambda path: fits.PrimaryHDU().writeto(path), "binary-table extension"),
    "unit": (
        lambda path: fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([
            fits.Column("lambda", "D", unit="nm", array=[400.0, 1000.0]),
            fits.Column("extinction", "D", array=[0.1, 0.1])])]).writeto(path),
        "expected Angstrom, found nm",
    ),
    "order": (
        lambda path: fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([
            fits.Column("lambda", "D", array=[9000.0, 4000.0]),
            fits.Column("extinction", "D", array=[0.1, 0.1])])]).writeto(path),
        "increasing wavelengths",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_damaged_calibrations_are_named(name, observation, run, tmp_path):
    make, word = CALIBRATIONS[name]
    path = tmp_path / "extinct_bad.fits"
    make(path)
    with pytest.raises(InputError) as error:
        run([*observation.frames(without=("EXTINCT_TABLE",)), (path, "EXTINCT_TABLE")])
    assert "extinct_bad.fits" in str(error.value)
    assert word in str(error.value)


def test_unknown_filter_is_warned_about_once(observation, run, caplog):
    assert run(observation.frames(), filter="white,nothing")
    assert caplog.text.count("filter nothing not found") == 1


@pytest.mark.parametrize("cube_format", ["Cube", "xCube", "Euro3D", "xEuro3D"])
def test_filter_without_data_is_warned_about_once(cube_format, observation, run, tmp_path, caplog):
    columns = [fits.Column(n, "D", array=v) for n, v in (("lambda", [8e3, 9e3]), ("throughput", [1.0, 1.0]))]
    path = tmp_path / "filters.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="red")]).writeto(path)
    with fits.open(path, mode="update") as hdus:
        hdus[1].header["EXTNAME"] = "red"
    frames = [*observation.frames(without=("FILTER_LIST",)), (path, "FILTER_LIST")]
    assert run(frames, filter="white,red", format=cube_format)
    assert caplog.text.count("filter red does not overlap") == 1


def test_unused_calibrations_are_warned_about_once(observation, run, tmp_path, caplog):
    columns = [
        fits.Column(name, form, array=values)
        for name, form, values in (
            ("lambda", "D", [6484.39]),
            ("flux", "D", [1.0]),
            ("group", "J", [0]),
            ("dq", "J", [0]),
        )
    ]
    lines = tmp_path / "raman.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="LINES")]).writeto(lines)
    factors = tmp_path / "factors.fits"
    fits.PrimaryHDU().writeto(factors)
    assert run([*observation.frames(), (lines, "RAMAN_LINES"), (factors, "AUTOCAL_FACTORS")])
    assert caplog.text.count("RAMAN_LINES has no effect without lasers") == 1
    assert caplog.text.count("AUTOCAL_FACTORS is not used with autocalib=none") == 1


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("ESO INS MODE", "WFM-NOAO-E", "different instrument modes (WFM-NOAO-E, WFM-NOAO-N)"),
        ("DEC", -30.0, "the exposures are of 2 fields without overlap: 1 | 2"),
        (None, None, ""),
    ],
)
def test_odd_combinations_are_warned_about_once(key, value, words, observation, run, tmp_path, caplog):
    first = observation.paths("PIXTABLE_OBJECT")
    frames = observation.frames()
    for path in first:
        with fits.open(path) as hdus:
            hdus[0].header["DATE-OBS"] = "2017-02-17T06:00:00.000"
            if key:
                hdus[0].header[key] = value
            hdus.writeto(tmp_path / path.name)
        frames.append((tmp_path / path.name, "PIXTABLE_OBJECT"))
    assert run(frames, dx=5.0, dy=5.0)
    odd = ("different instrument modes", "fields without overlap")
    found = [record.getMessage() for record in caplog.records if any(o in record.getMessage() for o in odd)]
    assert len(found) == bool(words)
    assert not words or words in found[0]


@pytest.mark.parametrize(("value", "count"), [("yes", 1), ("2.5", 0)])
def test_raman_variable_without_a_number(value, count, observation, run, caplog, monkeypatch):
    monkeypatch.setenv("MUSE_AUTOCAL_EXCLUDE_RAMAN", value)
    assert run(observation.frames())
    assert caplog.text.count("MUSE_AUTOCAL_EXCLUDE_RAMAN is no positive number") == count


def muserun(folder: Path, *arguments: str):
    command = [sys.executable, "-m", "muse_core.hosts.muserun", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_command_line_exit_codes(observation, tmp_path):
    good = observation.write_sof(tmp_path / "good.sof")
    options = ["--skymethod=none", "--save=cube"]
    assert muserun(tmp_path, "muse_scipost", *options, "absent.sof").returncode == 9
    (tmp_path / "missing.sof").write_text("absent.fits PIXTABLE_OBJECT\n")
    missing = muserun(tmp_path, "muse_scipost", *options, "missing.sof")
    assert missing.returncode == 9
    assert "absent.fits" in missing.stdout + missing.stderr
    assert muserun(tmp_path, "muse_nothing", str(good)).returncode == 13
    failed = muserun(tmp_path, "muse_scipost", *options, "--lambdamin=9900", str(good))
    assert failed.returncode == 255
    assert "contains no entries" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert muserun(tmp_path, "muse_scipost", "--resample=best", str(good)).returncode == 255
    assert not list(tmp_path.glob("*.fits"))


def test_folder_that_cannot_be_written(observation, tmp_path):
    folder = tmp_path / "absent"
    with pytest.raises(RecipeError, match="output folder"):
        run_recipe("muse_scipost", observation.frames(), OPTIONS, workdir=folder)


def test_full_disk(observation, tmp_path):
    """On a file system of 40 kB the cube does not fit: a clear error, no half product, no temporary file."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        # without the right to mount, a file size limit stands in for the full disk
        code = (
            "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000));"
            "import sys; from muse_core.hosts.muserun import main; sys.exit(main(sys.argv[1:]))"
        )
        sof = observation.write_sof(tmp_path / "in.sof")
        command = [sys.executable, "-c", code, f"--output-dir={folder}", "--log-file=NONE", "muse_scipost"]
        result = subprocess.run(
            [*command, "--skymethod=none", "--save=cube", str(sof)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 74
        assert "could not be written" in result.stdout + result.stderr
        left = [*folder.iterdir(), *tmp_path.glob("*.fits"), *tmp_path.glob(".*.part")]
        assert not left
        return
    try:
        with pytest.raises(RecipeError, match="could not be written"):
            run_recipe("muse_scipost", observation.frames(), OPTIONS, workdir=folder)
        assert not [path for path in folder.iterdir() if path.name.endswith(("DATACUBE_FINAL.fits", ".part"))]
    finally:
        subprocess.run(["umount", str(folder)], check=True)
