# SPDX-License-Identifier: BSD-3-Clause
"""The calls that musered's recipe IMPHOT makes of this library, one by one and in its order.

musered hands cubes of one night to `bandpass_image`, brings HST images to their pixels (regridding first,
rescaling then, both in place), fits with ``save=True``, and keeps numbers of the fits in tables.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

import imphot
from muse_core.simulate.imphot_pairs import with_noise

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mpdaf.obj  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")  # mpdaf and its units speak up on import and on reading

FILTERS = {"F606W": (7500.0, 7640.0), "F775W": (7560.0, 7760.0)}


@pytest.fixture(scope="module")
def night(noiseless, truth, tmp_path_factory):
    """A folder with a cube and two HST images, as musered finds them."""
    folder = tmp_path_factory.mktemp("night")
    hst, muse, variance = with_noise(noiseless, truth, 3)
    header = noiseless[3].copy()
    for key, value in {
        "CTYPE3": "AWAV",
        "CUNIT3": "Angstrom",
        "CRPIX3": 1.0,
        "CRVAL3": 7500.0,
        "CD3_3": 50.0,
    }.items():
        header[key] = value
    for key in ("CD1_3", "CD2_3", "CD3_1", "CD3_2"):
        header[key] = 0.0
    primary = fits.PrimaryHDU()
    for key, value in {"OBJECT": "field A", "DATE-OBS": "2026-01-01T00:00:00", "MJD-OBS": 61041.0}.items():
        primary.header[key] = value
    cube = np.repeat(muse[None], 6, axis=0).astype(np.float32)
    stat = np.repeat(variance[None] * 6, 6, axis=0)
    hdus = [primary, fits.ImageHDU(cube, header, "DATA"), fits.ImageHDU(stat, header, "STAT")]
    fits.HDUList(hdus).writeto(folder / "DATACUBE_FINAL_2026-01-01T00:00:00.fits")
    for name in FILTERS:
        own = noiseless[1].copy()
        own["FILTER"] = name
        if name == "F606W":  # the fluxes are those of F775W
            own["PHOTFLAM"], own["PHOTPLAM"] = 9.74e-20, 5921.1
        fits.PrimaryHDU(hst, own).writeto(folder / f"hst_{name.lower()}_sci.fits")
    return folder


@pytest.mark.unit
def test_version():
    assert f"imphot-{imphot.__version__}".count(".") == 2
    assert "__version__" in dir(imphot)


@pytest.mark.unit
@pytest.mark.parametrize("min_scale", [None, 0])
def test_the_whole_way(night, tmp_path, monkeypatch, truth, min_scale):
    from mpdaf.obj import Cube, Image

    monkeypatch.chdir(tmp_path)
    name = night / "DATACUBE_FINAL_2026-01-01T00:00:00.fits"
    cube = Cube(str(name))
    fits_of_filters = {}
    for filter_name, (first, last) in FILTERS.items():
        curve = np.array([[first, 0.0], [0.5 * (first + last), 1.0], [last, 0.0]])
        muse = imphot.bandpass_image(
            cube, curve[:, 0], curve[:, 1], unit_wave=u.angstrom, nprocess=2, truncation_warning=False
        )
        muse.write(f"IMAGE-MUSE-{filter_name}.fits", savemask="nan")
        muse = Image(f"IMAGE-MUSE-{filter_name}.fits")
        assert muse.primary_header["OBJECT"] == "field A"
        hst = Image(str(night / f"hst_{filter_name.lower()}_sci.fits"))
        imphot.regrid_hst_like_muse(hst, muse, inplace=True)
        imphot.rescale_hst_like_muse(hst, muse, inplace=True)
        hst.write(f"hst_{filter_name}.fits", savemask="nan")
        assert imphot.image_grids_aligned(Image(f"hst_{filter_name}.fits"), muse)
        fits_of_filters[filter_name] = imphot.fit_image_photometry(
            hst,
            muse,
            extramask=None,
            fix_beta=2.5,
            fix_bg=None,
            min_scale=min_scale,
            regions=None,
            save=True,
        )
    for filter_name, fit in fits_of_filters.items():
        assert (tmp_path / f"IMAGE-MUSE-{filter_name}_residual.fits").exists()
        lines = fit.summary(header=True).splitlines()
        assert len(lines) == 4 and fit.summary(header=False) == lines[-1]
        assert fit.dx.value == pytest.approx(truth.dx, abs=0.02)
        assert fit.scale.value == pytest.approx(truth.scale, abs=0.1)
    dra = np.array([fit.dra.value for fit in fits_of_filters.values()]).mean().item()
    assert dra == pytest.approx(-truth.dx / np.cos(np.radians(truth.dec)), abs=0.02)
    rows = [
        {
            "filename": str(name),
            "filter": filter_name,
            "dx": fit.dx.value,
            "dy": fit.dy.value,
            "dra": fit.dra.value.item(),
            "ddec": fit.ddec.value.item(),
            "scale": fit.scale.value,
            "fwhm": fit.fwhm.value,
            "beta": fit.beta.value,
            "bg": fit.bg.value,
            "rms": fit.rms_error,
        }
        for filter_name, fit in fits_of_filters.items()
    ]
    table = Table(rows=rows)
    table.meta["RA_OFF"] = dra / 3600.0
    table.write(tmp_path / "IMPHOT.fits", overwrite=True)
    back = Table.read(tmp_path / "IMPHOT.fits")
    assert all(back[column].dtype.kind == "f" for column in ("dx", "dra", "ddec", "scale", "rms"))
    logging.getLogger(__name__).info("%s", fits_of_filters["F775W"])


@pytest.mark.unit
def test_numbers_of_results(pair, regridded):
    """Whoever calls item(), float() or json on them gets a number; no lowest scale is as zero."""
    import json
    import pickle

    plain = imphot.fit_image_photometry(regridded, pair[1], fix_beta=2.5)
    unlimited = imphot.fit_image_photometry(regridded, pair[1], fix_beta=2.5, min_scale=None)
    assert plain.summary() == unlimited.summary() and plain.scale.stdev == unlimited.scale.stdev
    again = pickle.loads(pickle.dumps(plain))
    for fit in (plain, again):
        for value in (fit.dra, fit.ddec):
            assert value.value.item() == float(value.value) == json.loads(json.dumps(value.value))
            assert value.fixed is False and "np." not in repr(value)


@pytest.mark.unit
def test_masks_words_of_images(pair, tmp_path):
    """Images made of files know mpdaf's ways to write a mask."""
    image = imphot.apply_corrections(
        pair[1], imphot.fit_image_photometry(*pair, method="image", fix_beta=2.5)
    )
    image.mask[:5] = True
    for savemask, names in (("nan", ["PRIMARY", "DATA", "STAT"]), ("dq", ["PRIMARY", "DATA", "STAT", "DQ"])):
        image.write(tmp_path / "image.fits", savemask=savemask)
        with warnings.catch_warnings(), fits.open(tmp_path / "image.fits") as hdus:
            assert [hdu.name for hdu in hdus] == names
            assert np.isnan(hdus["DATA"].data[:5]).all()
