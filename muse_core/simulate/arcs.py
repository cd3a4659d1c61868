# SPDX-License-Identifier: BSD-3-Clause
"""Raw arc exposures of three lamps with laboratory wavelengths, and what they were made with.

The detector needs its full height, since arcs are identified by the real sampling of 1.25 Angstrom per pixel;
it may be narrow (slices of some pixels).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from scipy.special import ndtr

from muse_core.simulate import raw_detector as detector
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.lsf import line_spectrum, slice_parameters
from muse_core.simulate.raw import (
    _Masters,
    _table,
    append_image,
    badpix_table,
    channel_header,
    primary_header,
    trace_table,
    wave_table,
)
from muse_core.simulate.raw_instrument import RawSetup

LAMPS = {"Ne": 3, "Xe": 4, "HgCd": 5}
"""Numbers of the lamps (``ESO INS LAMPi``)."""
OF_ION = {"NeI": "Ne", "XeI": "Xe", "HgI": "HgCd", "CdI": "HgCd"}
FULL_HEIGHT = 2056
EXPTIME = 10.0
ARC_KIND = 6  # of the random numbers


class Line(NamedTuple):
    """Ion, wavelength in air (Angstrom), counts, quality (3 good, 5 for widths, 2 blended, 1 faint)."""

    ion: str
    lam: float
    flux: float
    quality: int


LINES: tuple[Line, ...] = tuple(
    Line(ion, lam, flux, quality)
    for ion, values in {
        "HgI": (
            (4916.068, 30, 0), (5460.735, 20000, 5), (5769.598, 4000, 2), (5790.663, 4200, 2),
            (7081.9, 150, 1),
        ),
        "CdI": (
            (4678.149, 1500, 3), (4799.912, 3000, 3), (5085.822, 5000, 5), (6438.470, 6000, 5),
            (7345.670, 300, 1),
        ),
        "NeI": (
            (5330.778, 250, 1), (5341.094, 400, 1), (5400.562, 900, 3), (5852.488, 8000, 5),
            (5881.895, 3500, 3), (5944.834, 5500, 3), (5975.534, 1500, 3), (6029.997, 2000, 3),
            (6074.338, 6000, 3), (6096.163, 8500, 3), (6143.063, 12000, 3), (6163.594, 4500, 3),
            (6217.281, 4000, 3), (6266.495, 9000, 3), (6304.789, 4500, 3), (6334.428, 11000, 3),
            (6382.991, 12500, 5), (6402.246, 20000, 3), (6506.528, 13500, 5), (6532.882, 6500, 3),
            (6598.953, 10000, 5), (6678.276, 17000, 5), (6717.043, 9500, 5), (6929.467, 14000, 5),
            (7024.050, 1600, 2), (7032.413, 16000, 2), (7173.938, 5000, 5), (7245.167, 12000, 5),
            (7438.899, 5500, 5), (7488.871, 2500, 3), (7535.774, 2000, 3), (8136.405, 900, 3),
            (8300.326, 2500, 3), (8377.608, 5500, 5), (8418.427, 900, 2), (8495.360, 4500, 5),
            (8591.259, 2300, 3), (8634.647, 2800, 3), (8654.383, 5000, 3), (8780.621, 4000, 2),
            (8783.753, 3000, 2), (8853.867, 1500, 3), (9148.672, 900, 3),
            (9201.759, 800, 3), (9300.853, 500, 3),
        ),
        "XeI": (
            (4624.276, 1500, 3), (4671.226, 2500, 3), (4697.020, 600, 1), (4734.152, 1300, 3),
            (4807.019, 800, 3), (4829.709, 500, 1), (4843.294, 400, 1), (4916.507, 900, 2),
            (4923.152, 900, 2), (6182.420, 200, 1), (6318.062, 400, 1), (6469.705, 500, 1),
            (6827.315, 1000, 3), (7119.598, 1500, 3), (7386.003, 500, 1), (7584.680, 700, 1),
            (7642.024, 1800, 3), (7887.393, 800, 3), (7967.342, 1200, 3), (8057.258, 700, 2),
            (8061.339, 600, 2), (8206.336, 1300, 3), (8231.635, 9000, 5), (8266.520, 900, 2),
            (8280.116, 7000, 2), (8346.822, 2500, 3), (8409.189, 1500, 3), (8819.411, 6000, 5),
            (8862.317, 700, 1), (8908.730, 600, 1), (8930.830, 700, 1), (8952.251, 2500, 3),
            (9045.446, 2000, 3), (9162.652, 2500, 2), (9167.520, 500, 2), (9374.760, 600, 1),
        ),
    }.items()
    for lam, flux, quality in values
)  # fmt: skip
"""Lines of the lamps (NIST, air) with relative strengths like those seen with MUSE."""


def arc_setup(**changes: object) -> RawSetup:
    """Return an instrument for arcs: full height and the real sampling, slices of ten pixels by default."""
    usual = {"nx": 256, "ny": FULL_HEIGHT, "ifus": (2,), "lambda_min": 4500.0, "lambda_max": 9600.0}
    return RawSetup(**{**usual, **changes})  # type: ignore[arg-type]


def line_sigma(lam: npt.ArrayLike, number: int) -> npt.NDArray[np.float64]:
    """Truth: Gaussian sigma (Angstrom) of the optics at a wavelength in slice ``number`` (from 0)."""
    bend: npt.NDArray[np.float64] = 1.0 - 0.1 * (np.asarray(lam, np.float64) - 7000.0) / 2500.0
    return bend * (1 + 0.02 * np.sin(0.9 * number))


def arc_light(
    setup: RawSetup,
    ifu: int,
    lamp: str,
    *,
    background: float = 15.0,
    lines: Sequence[Line] = LINES,
    lsf: dict[str, npt.NDArray[np.float64]] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the noise-free counts of a lamp on the trimmed detector.

    Lines are Gaussians integrated over the pixels, or have the profiles of the slices in ``lsf`` (of
    `lsf_parameters`), which hold the pixel already.
    """
    height, width = setup.shape
    edges = np.arange(0, height + 1) + 0.5
    y = np.arange(1, height + 1, dtype=float)
    trace, wave = instrument.trace_polynomials(setup, ifu), instrument.wave_polynomials(setup, ifu)
    through = instrument.slice_throughput(setup, ifu) * instrument.ifu_throughput(setup)[ifu]
    image = np.zeros((height, width), np.float32)
    for s in range(instrument.NSLICE):
        left, right = (np.polynomial.polynomial.polyval(y, trace[s, k]) for k in (1, 2))
        x1, x2 = max(int(left.min()) - 3, 1), min(int(right.max()) + 4, width)
        x = np.arange(x1, x2 + 1, dtype=float)[None, :]
        powers = [np.polynomial.polynomial.polyval(edges, wave[s, i])[:, None] for i in range(3)]
        lam = powers[0] + x * (powers[1] + x * powers[2])
        low, high = lam.min(axis=1), lam.max(axis=1)
        light = np.full((height, x.size), background)
        shown = [line for line in lines if OF_ION[line.ion] == lamp]
        if lsf is not None:
            light += _profiles(
                0.5 * (lam[1:] + lam[:-1]), shown, slice_parameters(lsf, ifu, s + 1)
            ) * np.diff(lam, axis=0)
            shown = []
        for line in shown:
            sigma = float(line_sigma(line.lam, s))
            first = int(np.searchsorted(high, line.lam - 8 * sigma))
            last = int(np.searchsorted(low, line.lam + 8 * sigma))
            if last - first > 1:
                share = np.diff(ndtr((lam[first:last] - line.lam) / sigma), axis=0)
                light[first : last - 1] += line.flux * share
        profile = 0.5 * (np.tanh((x - left[:, None]) / 0.6) - np.tanh((x - right[:, None]) / 0.6))
        image[:, x1 - 1 : x2] += (light * profile * through[s]).astype(np.float32)
    return image


def _profiles(
    lam: npt.NDArray[np.float64], lines: Sequence[Line], parameters: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the light of lines [count per Angstrom] at wavelengths, with the profile of one slice."""
    first, step = float(lam.min()), 0.05
    table = np.zeros(int((lam.max() - first) / step) + 2)
    wave, flux = (np.array([getattr(line, name) for line in lines]) for name in ("lam", "flux"))
    line_spectrum(parameters, wave, flux, first, step, 7.5, table)
    return np.interp(lam, first + step * np.arange(table.size), table)


def arc_header(setup: RawSetup, number: int, lamps: Iterable[str]) -> fits.Header:
    """Primary header of an arc exposure with some lamps on."""
    header = primary_header(setup, number, EXPTIME, "WAVE")
    del header["ESO PRO CATG"]
    lit = {LAMPS[lamp] for lamp in lamps}
    cards: dict[str, object] = {"DPR CATG": "CALIB", "DPR TECH": "IFU", "DPR TYPE": "WAVE"}
    cards |= {"TPL ID": "MUSE_wfm_cal_wavecal", "INS LAMPNUM": 6}
    for i in range(1, 7):
        cards |= {
            f"INS LAMP{i} NAME": f"CU-LAMP{i}", f"INS LAMP{i} ST": i in lit,
            f"INS SHUT{i} NAME": f"CU-SHUT{i}", f"INS SHUT{i} ST": i in lit,
        }  # fmt: skip
    for key, value in cards.items():
        header[f"HIERARCH ESO {key}"] = value
    return header


def write_line_catalog(path: Path, lines: Sequence[Line] = LINES, version: int | None = 3) -> Path:
    """Write the LINE_CATALOG of some lines."""
    ordered = sorted(lines, key=lambda line: line.lam)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("lambda", "E", unit="Angstrom", array=[line.lam for line in ordered]),
            fits.Column("flux", "E", array=[line.flux for line in ordered]),
            fits.Column("ion", "8A", array=[line.ion for line in ordered]),
            fits.Column("quality", "J", array=[line.quality for line in ordered]),
            fits.Column("comment", "8A", array=[OF_ION[line.ion] for line in ordered]),
        ]
    )
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"], primary.header["SIMULATE"], primary.header["MJD-OBS"] = "MUSE", True, 56658.0
    primary.header["HIERARCH ESO PRO CATG"] = "LINE_CATALOG"
    if version is not None:
        primary.header["VERSION"] = table.header["VERSION"] = version
    fits.HDUList([primary, table]).writeto(path, overwrite=True)
    return path


def simulate_arcs(
    folder: Path | str,
    setup: RawSetup | None = None,
    *,
    exposures: int = 3,
    lamps: Sequence[str] = ("HgCd", "Ne", "Xe"),
    scale: float = 1.0,
    merged: bool = True,
) -> Path:
    """Write arcs, masters, tables, a LINE_CATALOG, and the set of frames of muse_wavecal.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    setup : RawSetup, optional
        From `arc_setup`.
    exposures : int
        Of each lamp.
    lamps : sequence of str
    scale : float
        Counts are multiplied with it.
    merged : bool
        Masters in one file each, or one file per IFU.

    Returns
    -------
    Path
        ``wavecal.sof``; that of muse_lsf, ``lsf.sof``, stands beside it. The truth are the polynomials of
        `raw_instrument.wave_polynomials` (``wavecal.fits``) and `line_sigma`.
    """
    setup = setup or arc_setup()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arcs = [(lamp, i, folder / f"arc_{lamp}_{i}.fits") for lamp in lamps for i in range(exposures)]
    for number, (lamp, _, path) in enumerate(arcs):
        header = arc_header(setup, number + 1, (lamp,))
        fits.PrimaryHDU(header=header).writeto(path, overwrite=True)
    masters = _Masters(setup, folder, merged, "vpoly")
    for ifu in setup.ifus:
        light, previous = np.zeros(setup.shape, np.float32), ""
        response = detector.pixel_response(setup, ifu)
        for number, (lamp, _, path) in enumerate(arcs):
            if lamp != previous:
                light, previous = arc_light(setup, ifu, lamp) * response * np.float32(scale), lamp
            raw = detector.read_out(setup, ifu, number, light, ARC_KIND)
            append_image(path, raw, channel_header(setup, ifu))
        masters.write("bias", ifu, detector.master_bias(setup, ifu, False))
        masters.write("dark", ifu, detector.master_dark(setup, ifu))
        lamp_flat = instrument.light_on_detector(setup, ifu)[1]
        masters.write("flat", ifu, detector.master_flat(setup, ifu, lamp_flat, response))
    trace = _table(folder / "trace.fits", setup, "TRACE_TABLE", [trace_table(setup, i) for i in setup.ifus])
    wave = _table(folder / "wavecal.fits", setup, "WAVECAL_TABLE", [wave_table(setup, i) for i in setup.ifus])
    _table(folder / "badpix.fits", setup, "BADPIX_TABLE", [badpix_table(setup, i) for i in setup.ifus])
    catalog = write_line_catalog(folder / "line_catalog.fits")
    files = [(path, "ARC") for _, _, path in arcs]
    files += [(path, tag) for path, tag in masters.files if tag == "MASTER_BIAS"]
    files += [trace, (catalog, "LINE_CATALOG")]
    sof = folder / "wavecal.sof"
    sof.write_text("".join(f"{path.name} {tag}\n" for path, tag in files), encoding="utf-8")
    lines = "".join(f"{path.name} {tag}\n" for path, tag in [*files, wave])
    (folder / "lsf.sof").write_text(lines, encoding="utf-8")
    return sof
