# SPDX-License-Identifier: BSD-3-Clause
"""pymusepipe's AlignMuseDataset on our images: it finds the offsets, reads our list, and we read its own.

Its `phase_corr` is left off: the offsets it gives (2.30.1, scikit-image 0.26) have the opposite sign.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from muse_core.data.offset_list import read_offsets
from muse_core.framework import Frame, run_recipe
from muse_core.simulate.fields import FieldPlan, simulate_fields, true_offsets, write_fields

pytestmark = [pytest.mark.unit, pytest.mark.slow]

# a process of its own because it warns of all kinds of things
ALIGN = """
import json, sys
from pymusepipe.align_pipe import AlignMuseDataset
folder, names = sys.argv[1], sys.argv[2].split(",")
data = AlignMuseDataset(names[0], folder_reference=folder, folder_muse_images=folder, name_muse_images=names,
    hdu_ext=(1, 1), plot=False, verbose=False, **json.loads(sys.argv[3]))
data.save_fits_offset_table(name_output_table="OFFSET_LIST_pymusepipe.fits", overwrite=True)
print("RESULT", json.dumps({"total": data._total_off_arcsec.tolist(), "template": data.ima_tplstart,
    "mjd": data.ima_mjdobs, "date": data.ima_dateobs, "angles": [float(a) for a in data.list_wcs_rotangles]}))
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three images with offsets of an arcsecond or two, their truth (deg of coordinate), and their paths."""
    folder = tmp_path_factory.mktemp("images")
    simulated = simulate_fields(FieldPlan(shape=(160, 160), sky=30.0, seed=4))
    paths = write_fields(simulated, folder)
    for number, path in enumerate(paths, 1):  # as pymusepipe marks the images of its own runs
        fits.setval(path, "HIERARCH MUSEPIPE_IEXPO", value=number)
        fits.setval(path, "HIERARCH MUSEPIPE_DATASET", value=1)
    return simulated, true_offsets(simulated), paths


def align(paths, **options):
    """What AlignMuseDataset says of the images, and the table it writes."""
    folder = paths[0].parent
    done = subprocess.run(
        [
            sys.executable, "-W", "ignore", "-c", ALIGN, str(folder), ",".join(p.name for p in paths),
            json.dumps(options),
        ],
        capture_output=True, text=True, cwd=folder, env={**os.environ, "MPLBACKEND": "Agg"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT ")), folder / "OFFSET_LIST_pymusepipe.fits"


def test_it_finds_the_offsets_of_our_images_and_we_read_its_list(images):
    simulated, truth, paths = images
    found, table = align(paths, phase_corr=False)
    assert found["template"] == ["2017-09-04T02:24:00"] * 3
    assert found["date"] == [image.date for image in simulated]
    assert found["mjd"] == [image.mjd for image in simulated]
    rows = read_offsets(Frame(table, "OFFSET_LIST"))
    for image, expected in zip(simulated, truth, strict=True):
        row = rows.row_of(image.date, image.mjd)
        assert row is not None
        assert row.ra_offset == pytest.approx(expected[0], abs=0.06 / 3600.0)  # measured: 0.04 arcsec
        assert row.dec_offset == pytest.approx(expected[1], abs=0.06 / 3600.0)
    assert np.abs(truth).max() * 3600.0 > 1.0


def test_it_starts_from_the_list_of_our_muse_exp_align(images):
    _, truth, paths = images
    frames = [(path, "IMAGE_FOV") for path in paths]
    run_recipe("muse_exp_align", frames, workdir=paths[0].parent)
    listed = Table.read(paths[0].parent / "OFFSET_LIST.fits", hdu=1)
    found, _ = align(paths, firstguess="fits", name_offset_table="OFFSET_LIST.fits")
    cosine = np.cos(np.deg2rad([fits.getval(path, "CRVAL2", 1) for path in paths]))
    expected = np.stack([listed["RA_OFFSET"] * cosine, listed["DEC_OFFSET"]], axis=1) * 3600.0
    assert np.allclose(found["total"], expected, rtol=1e-12, atol=1e-9)
    assert np.allclose(listed["RA_OFFSET"], truth[:, 0], rtol=0.0, atol=0.01 / 3600.0)
