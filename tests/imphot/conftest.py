# SPDX-License-Identifier: BSD-3-Clause
"""Synthetic pairs of images with known truth, and the stored results of the existing package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, write_pair
from tests.golden import golden_set

NAMES = ("dx", "dy", "bg", "scale", "fwhm", "beta")


@pytest.fixture(scope="session")
def truth():
    return PairTruth(size=16.0, hst_noise=0.005)


@pytest.fixture(scope="session")
def sky(truth):
    return make_sky(3, truth.size, nstar=3, ndisc=20)


@pytest.fixture(scope="session")
def noiseless(sky, truth):
    return make_pair(sky, truth)


@pytest.fixture(scope="session")
def pair(noiseless, truth, tmp_path_factory):
    """Paths of an HST frame and of a MUSE image."""
    return tuple(
        str(p) for p in write_pair(tmp_path_factory.mktemp("pair"), "field", noiseless, truth, seed=1)
    )


@pytest.fixture(scope="session")
def regridded(pair, tmp_path_factory):
    """Path of the HST image on the MUSE pixels."""
    import imphot

    path = tmp_path_factory.mktemp("grid") / "hstgrid.fits"
    hst = imphot.rescale_hst_like_muse(pair[0], pair[1])
    imphot.regrid_hst_like_muse(hst, pair[1]).write(path, dtype=np.float64)
    return str(path)


@pytest.fixture(scope="session")
def star(sky, truth):
    """The brightest star: ra, dec, radius."""
    i = int(np.argmax(sky.star_flux))
    ra = truth.ra + sky.star_xi[i] / 3600.0 / np.cos(np.radians(truth.dec))
    return float(ra), float(truth.dec + sky.star_eta[i] / 3600.0), 3.0


@pytest.fixture(scope="session")
def golden() -> Path:
    return golden_set("imphot")


@pytest.fixture(scope="session")
def peer(golden):
    return json.loads((golden / "peer_fits.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def peer_misc(golden):
    return json.loads((golden / "peer_misc.json").read_text(encoding="utf-8"))
