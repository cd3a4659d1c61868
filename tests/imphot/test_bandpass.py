# SPDX-License-Identifier: BSD-3-Clause
"""Band-pass images against the record and against slow twins."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

import imphot
from imphot.hst import bandpass
from imphot.hst.bandpass import plane_weights


def write_cube(path, data, var=None, first=5000.0, step=1.25):
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": 10.0,
            "CRVAL2": -20.0,
            "CRPIX1": 1.0,
            "CRPIX2": 1.0,
        }
    )
    header.update(
        {
            "CD1_1": -0.2 / 3600,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": 0.2 / 3600,
            "CUNIT1": "deg",
            "CUNIT2": "deg",
        }
    )
    header.update({"CTYPE3": "AWAV", "CRVAL3": first, "CRPIX3": 1.0, "CD3_3": step, "CUNIT3": "Angstrom"})
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data.astype(np.float32), header, "DATA")]
    if var is not None:
        hdus.append(fits.ImageHDU(var.astype(np.float32), header, "STAT"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return str(path)


@pytest.mark.golden
def test_as_recorded(golden):
    record = json.loads((golden / "cube" / "peer_cube.json").read_text(encoding="utf-8"))
    for key, entry in record.items():
        if not isinstance(entry, dict) or "data" not in entry:
            continue
        curve, interpolation, _ = key.split("_")
        lam, throughput = np.loadtxt(golden / "cube" / f"{curve}.dat", unpack=True)
        out = imphot.bandpass_image(
            str(golden / "cube" / "mini_DATACUBE.fits"),
            lam,
            throughput,
            interpolation=interpolation,
            nprocess=2,
            truncation_warning=False,
        )
        for found, plane in ((out.values, entry["data"]), (out.var, entry["var"])):
            expected = np.array([[np.nan if v is None else v for v in row] for row in plane])
            good = np.isfinite(expected)
            # rounding of the record; a voxel of bad variance no longer blanks the whole pixel
            np.testing.assert_allclose(found[good], expected[good], atol=1e-9)


@pytest.mark.law
def test_weights_are_exact_integrals():
    lam = np.array([5000.0, 5003.0, 5010.0, 5020.0])
    curve = np.array([0.0, 1.0, 0.5, 0.0])
    centres = 4990.0 + 1.25 * np.arange(40)
    weights, outside = plane_weights(centres, 1.25, lam, curve)
    fine = np.linspace(4980, 5050, 700001)
    values = np.interp(fine, lam, curve, left=0, right=0)
    slow = [values[(fine >= c - 0.625) & (fine < c + 0.625)].sum() * 1e-4 for c in centres]
    np.testing.assert_allclose(weights, slow, atol=2e-4)
    assert outside == pytest.approx(0.0, abs=1e-12)
    assert plane_weights(centres[:16], 1.25, lam, curve)[1] == pytest.approx(
        1 - weights[:16].sum() / weights.sum()
    )


@pytest.mark.law
def test_masked_voxels_lose_their_own_weight_only(tmp_path):
    rng = np.random.default_rng(1)
    data, var = rng.random((20, 6, 7)), rng.random((20, 6, 7)) + 0.5
    data[4, 2, 3] = np.nan
    var[7, 1, 1] = np.nan
    data[:, 5, 5] = np.nan
    lam, curve = np.array([5003.0, 5010.0, 5018.0]), np.array([0.2, 1.0, 0.1])
    name = write_cube(tmp_path / "c.fits", data, var)
    out = imphot.bandpass_image(name, lam, curve, nprocess=1)
    weights, _ = plane_weights(5000 + 1.25 * np.arange(20), 1.25, lam, curve)
    w = np.where(np.isfinite(data) & np.isfinite(var), weights[:, None, None], 0.0)
    with np.errstate(invalid="ignore"):
        expected = np.nansum(w * np.nan_to_num(data), 0) / w.sum(0)
        expected_var = np.nansum(w**2 * np.nan_to_num(var), 0) / w.sum(0) ** 2
    assert out.mask.sum() == 1 and out.mask[5, 5]
    np.testing.assert_allclose(out.values[~out.mask], expected[~out.mask], rtol=1e-6)
    np.testing.assert_allclose(out.var[~out.mask], expected_var[~out.mask], rtol=1e-6)
    nm = imphot.bandpass_image(name, lam / 10, curve, unit_wave=u.nm, nprocess=2)
    np.testing.assert_allclose(nm.values[~nm.mask], out.values[~out.mask], rtol=1e-12)


@pytest.mark.law
def test_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(bandpass, "BLOCK_BYTES", 1 << 18)
    data = np.ones((400, 60, 60), np.float32)  # 5.8 MB, with variances 11.5 MB
    name = write_cube(tmp_path / "big.fits", data, data)
    lam, curve = np.array([5000.0, 5499.0]), np.array([1.0, 1.0])
    imphot.bandpass_image(name, lam, curve, nprocess=1)  # imports
    tracemalloc.start()
    out = imphot.bandpass_image(name, lam, curve, nprocess=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    np.testing.assert_allclose(out.values, 1.0, rtol=1e-6)


@pytest.mark.unit
def test_bad_curves(tmp_path, caplog):
    name = write_cube(tmp_path / "c.fits", np.ones((20, 3, 3)))
    for lam, curve, text in (
        ([1.0, 2.0], [1.0, 1.0, 1.0], "equal length"),
        ([8000.0, 8100.0], [1.0, 1.0], "does not overlap"),
        ([5010.0, 5000.0], [1.0, 1.0], "must increase"),
        ([5000.0, np.nan], [1.0, 1.0], "not finite"),
    ):
        with pytest.raises(imphot.UserError, match=text):
            imphot.bandpass_image(name, lam, curve)
    with pytest.raises(imphot.UserError, match="Unknown interpolation"):
        imphot.bandpass_image(name, [5000.0, 5010.0], [1.0, 1.0], interpolation="magic")
    with pytest.raises(imphot.UserError, match="not a unit of wavelengths"):
        imphot.bandpass_image(name, [5000.0, 5010.0], [1.0, 1.0], unit_wave="kg")
    with pytest.raises(imphot.UserError, match="Error reading cube"):
        imphot.bandpass_image(str(tmp_path / "no.fits"), [5000.0, 5010.0], [1.0, 1.0])
    out = imphot.bandpass_image(name, [4990.0, 5010.0], [1.0, 1.0])
    assert out.var is None and "outside the wavelengths" in caplog.text
