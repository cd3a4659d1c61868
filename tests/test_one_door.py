# SPDX-License-Identifier: BSD-3-Clause
"""FITS files are read through one door (`muse_core.framework.fits_file.open_fits`), found in the sources.

What is opened elsewhere by astropy is listed here with the reason; the list may only become shorter.
"""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path

import pytest
from astropy.io import fits

from muse_core.framework import InputError, ParameterError, WriteError
from muse_core.framework.fits_file import open_fits, read_header

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[1]
READERS = {"open", "getheader", "getdata", "getval", "info"}

# with the reason
LISTED = {
    "muse_core/framework/fits_file.py": "the door",
    "muse_core/framework/input_files.py": "unpacks tile-compressed files before anything else sees them",
    "muse_core/cpl/result.py": "own products, which the user of the Python interface changes",
    "muse_core/simulate/night.py": "changes the files that it has just made",
}


def readings(source: str) -> list[int]:
    """Lines in which a source opens FITS files by astropy."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in READERS:
            if ast.unparse(node.value) in ("fits", "io.fits", "astropy.io.fits", "pyfits"):
                lines.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "astropy.io.fits":
            lines += [node.lineno for alias in node.names if alias.name in READERS]
    return lines


def test_readings_are_found():
    source = (
        "from astropy.io import fits\nfits.open(x)\nfrom astropy.io.fits import getdata, Header\nopen(y)\n"
    )
    assert readings(source) == [3, 2]
    assert readings("def f():\n    return astropy.io.fits.getheader(x)['A']") == [2]


def opening_files() -> dict[str, list[int]]:
    found = {}
    for top in ("muse_core", "imphot", "recipes"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if lines := readings(path.read_text(encoding="utf-8")):
                found[path.relative_to(ROOT).as_posix()] = lines
    return found


def test_files_are_opened_at_the_door():
    found = opening_files()
    strange = {name: lines for name, lines in found.items() if name not in LISTED}
    assert not strange, f"use open_fits of muse_core/framework/fits_file.py: {strange}"
    assert set(LISTED) <= set(found), f"no longer needed: {sorted(set(LISTED) - set(found))}"


RAW_READERS = {"memmap", "fromfile", "pread", "preadv"}
# bytes of files that are read at a place, and who has looked at the file before
BYTES = {
    "muse_core/detector/merged.py": "own parts of a product",
    "muse_core/calib/cards.py": "headers of archives, a hundred thousand of them; judged by what is found",
    "muse_core/calib/compose.py": "the start of what a set of frames would replace",
    "muse_core/calib/verify.py": "check sums of whatever file",
    "muse_core/data/row_reader.py": "rows of pixel tables that open_pixtable has checked",
    "muse_core/data/file_kernels.py": "the same",
    "muse_core/data/pixtable.py": "tables whose length open_pixtable has checked",
    "muse_core/data/row_weights.py": "a column that open_pixtable has checked",
    "muse_core/data/pixtable_writer.py": "own tables, of which several processes write pieces",
    "muse_core/data/stored_image.py": "pieces of images whose file the door has checked",
    "muse_core/detector/fitsfile.py": "pixels of frames that `opened` has checked; a short file is told",
    "muse_core/detector/masters.py": "the same",
    "muse_core/framework/checksums.py": "sums of inputs whose units the door has checked",
    "muse_core/framework/delivery.py": "own products",
    "muse_core/framework/fits_file.py": "the door",
    "muse_core/framework/fits_layout.py": "the headers, for the door",
    "muse_core/framework/fits_structure.py": "the same",
    "muse_core/framework/identity.py": "samples of inputs that were admitted, to tell them from others",
    "muse_core/framework/resume.py": "own results of an interrupted run",
    "muse_core/framework/input_files.py": "unpacks files, after it has refused what is no regular file",
    "muse_core/framework/kernel_cache.py": "own compiled functions",
    "muse_core/framework/settings.py": "the empty device, for closed streams",
    "muse_core/framework/sof.py": "sets of frames, which are text",
    "muse_core/hosts/delivery.py": "own products",
    "muse_core/resampling/cube_file.py": "own cubes",
    "muse_core/resampling/stored_sums.py": "sums of an earlier run, opened at the door before",
    "muse_core/twilight/store.py": "own scratch files",
}


def raw_readings(source: str) -> list[int]:
    """Lines in which a source opens a file for its bytes."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
        of_os = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "os"
        if name in RAW_READERS or (name == "open" and ("rb" in modes or of_os)):
            lines.append(node.lineno)
    return lines


def test_bytes_of_files_are_read_where_that_is_known():
    assert raw_readings("p.open('rb')\nos.open(p, 0)\nopen(p)\nnp.memmap(p)") == [1, 2, 4]
    found = {
        path.relative_to(ROOT).as_posix()
        for top in ("muse_core", "imphot", "recipes")
        for path in (ROOT / top).rglob("*.py")
        if "simulate" not in path.parts and raw_readings(path.read_text(encoding="utf-8"))
    }
    assert found == set(BYTES), "use open_fits, or say here who has looked at the file before"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU([[1.0, 2.0]]).writeto(path)
    return path


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    for name, found in (("pipe.fits", "a pipe"), (".", "a folder"), ("absent.fits", "none")):
        with (
            pytest.raises(InputError, match=f"regular file|existing file.*{found}"),
            open_fits(tmp_path / name),
        ):
            pass


@pytest.mark.parametrize(
    "error", [IndexError, EOFError, TypeError("x"), KeyError("x"), ValueError("a\nb"), OSError("x")]
)
def test_what_fails_while_reading_names_the_file(image, error):
    with (
        pytest.raises(InputError, match=r"image\.fits: MASK: expected an image, found \w+\b|'x'"),
        open_fits(image, item="MASK", expected="an image"),
    ):
        raise error


def test_a_full_disk_is_not_told_as_damage(image):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(WriteError, match=r"image\.fits.*No space left on device; make room"),
        open_fits(image),
    ):
        raise error


def test_errors_of_recipes_pass_through(image):
    with pytest.raises(ParameterError, match="^as it is$"), open_fits(image):
        raise ParameterError("as it is")


def test_damage_inside_is_told(image):
    image.write_bytes(image.read_bytes()[:2890])
    with pytest.raises(InputError, match=r"image\.fits: primary header: .*NAXIS1=2.* truncated"):
        with open_fits(image) as hdus:
            assert hdus[0].data is not None
    with pytest.raises(InputError, match=r"image\.fits: file: expected a readable FITS file"):
        with open_fits(image, whole=False) as hdus:
            assert hdus[0].data is not None
    image.write_bytes(b"no header at all")
    with pytest.raises(InputError, match=r"image\.fits"):
        read_header(image)


def test_header_of_an_extension(image):
    fits.append(image, fits.getdata(image), fits.Header([("EXTNAME", "TWO")]))
    assert read_header(image, 1)["EXTNAME"] == "TWO"
    with pytest.raises(InputError, match=r"image\.fits"):
        read_header(image, 2)
