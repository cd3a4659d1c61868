# SPDX-License-Identifier: BSD-3-Clause
"""The static calibrations of `calib_db`: made from published figures, written again by one command.

``python -m muse_core.simulate.static_set calib_db`` rewrites the files; `calib_db/README.md` lists the
sources of the figures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from muse_core.framework.places import shipped_folder
from muse_core.simulate import calibrations as cal
from muse_core.simulate.airglow import LineList, sky_line_list
from muse_core.simulate.lsf import lsf_parameters
from muse_core.simulate.scipost import RAMAN_LINES, astrometric_solution

# Bessell (1990, PASP 102, 1181), table 2: start of the band [A], throughput every 100 A; R
# is interpolated above 7500 A
_BESSELL = {
    "Johnson_V": (4700, (
        0, 0.030, 0.163, 0.458, 0.780, 0.967, 1.000, 0.973, 0.898, 0.792, 0.684, 0.574,
        0.461, 0.359, 0.270, 0.197, 0.135, 0.081, 0.045, 0.025, 0.017, 0.013, 0.009, 0,
    )),
    "Cousins_R": (5500, (
        0, 0.23, 0.74, 0.91, 0.98, 1.00, 0.98, 0.96, 0.93, 0.90, 0.86, 0.81,
        0.78, 0.72, 0.67, 0.61, 0.56, 0.51, 0.46, 0.40, 0.35, 0.308, 0.266, 0.224,
        0.182, 0.14, 0.118, 0.096, 0.074, 0.052, 0.03, 0.024, 0.018, 0.012, 0.006, 0,
    )),
    "Cousins_I": (7000, (
        0, 0.024, 0.232, 0.555, 0.785, 0.910, 0.965, 0.985, 0.990, 0.995, 1.000, 1.000,
        0.990, 0.980, 0.950, 0.910, 0.860, 0.750, 0.560, 0.330, 0.150, 0.030, 0,
    )),
}  # fmt: skip
# AB minus Vega magnitude (Blanton and Roweis 2007, AJ 133, 734)
_AB_MINUS_VEGA = {
    "Johnson_V": 0.02,
    "Cousins_R": 0.21,
    "Cousins_I": 0.45,
    "SDSS_g": -0.08,
    "SDSS_r": 0.16,
    "SDSS_i": 0.37,
    "SDSS_z": 0.54,
}


FILTER_SOURCE = "Bessell 1990 (PASP 102, 1181), Doi+ 2010 (AJ 139, 1628)"
LINE_SOURCE = "Cosby+ 2006 (JGR 111, A12307), atlas of Hanuschik 2003"
RAMAN_SOURCE = "Vogt+ 2017 (PRX 7, 021044)"


def filter_curves() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Filter curves by name: wavelength [A], throughput 0..1."""
    curves = {}
    for name, (start, values) in _BESSELL.items():
        curves[name] = (start + 100.0 * np.arange(len(values)), np.array(values, float))
    rows = [line.split() for line in _source("sdss_filters.txt")]
    for band in "griz":
        table = np.array([row[1:] for row in rows if row[0] == band], float)
        curves[f"SDSS_{band}"] = (table[:, 0], table[:, 1])
    return curves


def nightglow_lines() -> LineList:
    """Emission lines measured over Paranal: wavelength in air [A], flux [1e-20 erg/s/cm2/arcsec2].

    Groups are lines that vary together; see the head of calib_db/sources/nightglow_lines.txt.
    """
    rows = [line.split(maxsplit=4) for line in _source("nightglow_lines.txt")]
    wave = np.array([row[0] for row in rows], float)
    rayleigh = np.array([row[1] for row in rows], float)
    group = np.array([row[2] for row in rows], np.int32)
    return LineList(tuple(row[4] for row in rows), group, wave, rayleigh * energy_of_rayleigh(wave))


def energy_of_rayleigh(wavelength: np.ndarray) -> np.ndarray:
    """Surface brightness of one Rayleigh (1e6 / 4 pi photons/s/cm2/sr) [1e-20 erg/s/cm2/arcsec2].

    >>> round(float(energy_of_rayleigh(np.array([5577.34]))[0]))
    666
    """
    planck_c = 1.986445857e-8  # erg Angstrom
    steradian = (np.pi / 648000.0) ** 2  # one square arcsecond
    return 1e6 / (4 * np.pi) * steradian * planck_c / np.asarray(wavelength, float) * 1e20


def _source(name: str) -> list[str]:
    """Lines of a table of published values, without comments."""
    text = (shipped_folder("calib_db") / "sources" / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def zero_points(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, tuple[float, float]]:
    """Vega and AB zero points for images in 1e-20 erg/s/cm2/A: mag = zero point - 2.5 log10(value).

    From the pivot wavelength of a mean over the throughput, as the filter images are made:
    m_AB = -2.5 log10(f_lambda) - 5 log10(lambda) - 2.408.
    """
    points = {}
    for name, (wave, throughput) in curves.items():
        pivot = np.sqrt(np.trapezoid(throughput, wave) / np.trapezoid(throughput / wave**2, wave))
        ab = 50.0 - 2.408 - 5 * np.log10(pivot)
        points[name] = (round(float(ab - _AB_MINUS_VEGA[name]), 4), round(float(ab), 4))
    return points


def write_static_set(folder: Path) -> list[Path]:
    """Write the folders `static` (true anywhere) and `simulated` (true of the simulated instrument only)."""
    static, simulated = folder / "static", folder / "simulated"
    for part in (static, simulated):
        part.mkdir(parents=True, exist_ok=True)
    curves = filter_curves()
    wide, narrow = astrometric_solution(False, True), astrometric_solution(True, True)
    return [
        cal.write_extinction(static / "extinct_table.fits"),
        cal.write_filters(static / "filter_list.fits", curves, zero_points(curves), FILTER_SOURCE),
        cal.write_lines(static / "sky_lines.fits", nightglow_lines(), source=LINE_SOURCE),
        cal.write_lines(static / "raman_lines.fits", RAMAN_LINES, "RAMAN_LINES", source=RAMAN_SOURCE),
        cal.write_lines(simulated / "sky_lines.fits", sky_line_list()),
        cal.write_response(simulated / "std_response.fits"),
        cal.write_telluric(simulated / "std_telluric.fits"),
        cal.write_astrometry(simulated / "astrometry_wcs_wfm.fits", "WFM-NOAO-N", *wide),
        cal.write_astrometry(simulated / "astrometry_wcs_nfm.fits", "NFM-AO-N", *narrow),
        cal.write_lsf_table(simulated / "lsf_profile.fits", lsf_parameters(), range(1, 25)),
    ]


if __name__ == "__main__":
    for written in write_static_set(Path(sys.argv[1] if len(sys.argv) > 1 else "calib_db")):
        sys.stdout.write(f"{written}\n")
