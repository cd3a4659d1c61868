# SPDX-License-Identifier: BSD-3-Clause
"""The documented example: shifted, rotated and noisier cuts of the real MUSE image of the HDF South."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.alignment.images.checks import inspect_field
from muse_core.alignment.images.headers import read_wcs
from muse_core.framework.errors import InputError, Problems
from muse_core.simulate.fields import FieldPlan, cut_fields
from tests.alignment.conftest import sky_error_arcsec

pytestmark = pytest.mark.law


def hdfs_path():
    return Path(find_spec("mpdaf").origin).parent / "data" / "obj" / "IMAGE-HDFS-1.34.fits"


@pytest.mark.parametrize("angles", [(0.0,), (0.0, 90.0, 3.0, 180.0)])
def test_cuts_of_the_deep_field_are_aligned(align, angles):
    path = hdfs_path()
    problems = Problems()
    inspect_field(path, need_exptime=False, problems=problems)
    with pytest.raises(InputError) as caught:
        problems.raise_if_any()
    assert [fault.item for fault in caught.value.faults] == [
        "keyword MJD-OBS",
        "keyword DATE-OBS",
    ]  # it is no pipeline product
    with fits.open(path) as hdus:
        data = hdus["DATA"].data
        header = hdus["DATA"].header

    plan = FieldPlan(exposures=4, shape=(220, 220), noise=(0.15,), angles_deg=angles, seed=5)
    images = list(cut_fields(data, read_wcs([header]), plan))
    aligned = align(images, threshold=2.0, step=0.1)
    error = sky_error_arcsec(images, aligned.offsets())[1:]
    sigma = np.array([aligned.qc(f"ERR RA{n}") for n in (2, 3, 4)])

    assert aligned.qc("UNTRUSTED") == 0
    assert np.sqrt(np.mean(error**2)) < 0.02  # a tenth of a pixel; galaxies, few stars
    assert np.all(np.abs(error) < 5 * sigma[:, None])
