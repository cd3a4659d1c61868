# SPDX-License-Identifier: BSD-3-Clause
"""The demonstration from end to end: simulate, reduce, draw."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.tools import main


@pytest.mark.slow
def test_demo_makes_a_cube_images_and_a_picture(tmp_path, monkeypatch, capsys):
    for name in ("MUSE_DEMO", "MUSE_CALIB_DB"):
        monkeypatch.setenv(name, "")  # the demonstration sets them; put back after the test
    assert main(["demo", str(tmp_path / "demo")]) == 0
    assert "demo.png" in capsys.readouterr().out
    folder = tmp_path / "demo"
    assert (folder / "demo.png").read_bytes()[:4] == b"\x89PNG"
    names = [
        fits.getheader(folder / f"IMAGE_FOV_{k:04d}.fits")["ESO DRS MUSE FILTER NAME"] for k in (1, 2, 3, 4)
    ]
    assert names == ["white", "Halpha", "SII", "continuum"]
    with fits.open(folder / "DATACUBE_FINAL.fits") as hdus:
        data, header = hdus["DATA"].data, hdus["DATA"].header
        assert np.isfinite(data).mean() > 0.9
        data = data[:-3]  # the last planes are filled only here and there
        middle = np.nanmean(data[:, 65:85, 65:85], axis=(1, 2))
        wave = header["CRVAL3"] + header["CD3_3"] * np.arange(data.shape[0])
        line = np.abs(wave - 7148.0) < 4
        quiet = (wave > 7170) & (wave < 7230)
        assert middle[line].max() > 2.5 * np.median(middle[quiet])  # [N II] of the nebula
        corner = data[:, 20:40, 20:40]
        assert abs(np.nanmedian(corner[quiet])) < 2.0  # the sky is gone: it was 45 in these units
    assert not list((folder / "inputs").glob("PIXTABLE_*"))
