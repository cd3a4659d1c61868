# SPDX-License-Identifier: BSD-3-Clause
"""Calibration files for simulated observations, one writer per frame tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.simulate import physics
from muse_core.simulate.airglow import LineList
from muse_core.simulate.lsf import lsf_image

SB_UNIT = "10**(-20)*erg/(s cm^2 arcsec^2)"
_RESPONSE_UNIT = "2.5*log10((count/s/Angstrom)/(erg/s/cm**2/Angstrom))"


def primary_hdu(tag: str, source: str = "", **cards: Any) -> fits.PrimaryHDU:
    """Primary HDU of a calibration; without a source in the literature it is marked as simulated."""
    hdu = fits.PrimaryHDU()
    hdu.header["INSTRUME"] = "MUSE"
    if source:
        hdu.header["AUTHOR"] = "muse-recipes"
        hdu.header["LICENSE"] = "BSD-3-Clause"
        hdu.header["HISTORY"] = f"Source: {source}"
    else:
        hdu.header["SIMULATE"] = (True, "only for data of the simulated instrument")
    hdu.header["HIERARCH ESO PRO CATG"] = tag
    for key, value in cards.items():
        hdu.header[key.replace("_", " ")] = value
    return hdu


def _save(path: Path, hdus: list) -> Path:
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def _table(name: str | None, *columns: fits.Column) -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(list(columns), name=name)


def _column(name: str, array: npt.ArrayLike, form: str = "D", unit: str | None = None) -> fits.Column:
    return fits.Column(name, form, unit=unit, array=np.asarray(array))


def extinction_curve(wavelength: np.ndarray) -> np.ndarray:
    """Mean extinction of Paranal [mag/airmass]: Rayleigh, aerosol and ozone terms (Patat et al. 2011)."""
    um = np.asarray(wavelength, float) / 1e4
    rayleigh = 0.00864 * um ** -(3.916 + 0.074 * um + 0.050 / um) * np.exp(-2.64 / 7.996)
    aerosol = 0.014 * um**-1.38
    ozone = 0.025 * np.exp(-0.5 * ((um - 0.59) / 0.035) ** 2)
    return 1.0857 * rayleigh + aerosol + ozone


def write_extinction(path: Path) -> Path:
    """EXTINCT_TABLE."""
    wave = np.arange(3200.0, 10500.0, 40.0)
    hdu = _table(
        None,
        _column("lambda", wave, unit="Angstrom"),
        _column("extinction", extinction_curve(wave), unit="mag/airmass"),
    )
    return _save(
        path, [primary_hdu("EXTINCT_TABLE", "terms of Hansen+Travis 1974, Patat+ 2011 (A&A 527, A91)"), hdu]
    )


def response_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the response table."""
    wave = np.arange(4500.0, 9500.1, 7.5)
    return wave, physics.response_curve(wave)


def write_response(path: Path, error: float = 0.002, ffcorr: bool = False) -> Path:
    """STD_RESPONSE; ffcorr marks a response made with flat-field spectra."""
    wave, response = response_nodes()
    hdu = _table(
        None,
        _column("lambda", wave, unit="Angstrom"),
        _column("response", response, unit=_RESPONSE_UNIT),
        _column("resperr", error * (1 + 0.5 * np.sin(wave / 130.0)), unit=_RESPONSE_UNIT),
    )
    primary = primary_hdu("STD_RESPONSE")
    if ffcorr:
        primary.header["HIERARCH ESO DRS MUSE FLUX FFCORR"] = True
    return _save(path, [primary, hdu])


def telluric_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the telluric table."""
    wave = np.arange(4500.0, 9500.1, 1.25)
    return wave, physics.telluric_transmission(wave)


def write_telluric(path: Path, ffcorr: bool = False) -> Path:
    """STD_TELLURIC; ffcorr marks one made with flat-field spectra."""
    wave, transmission = telluric_nodes()
    hdu = _table(
        None,
        _column("lambda", wave, unit="Angstrom"),
        _column("ftelluric", transmission),
        _column("ftellerr", 0.002 + 0.005 * (1 - transmission)),
    )
    primary = primary_hdu("STD_TELLURIC")
    if ffcorr:
        primary.header["HIERARCH ESO DRS MUSE FLUX FFCORR"] = True
    return _save(path, [primary, hdu])


def write_astrometry(path: Path, mode: str, cd: np.ndarray, crpix: tuple[float, float]) -> Path:
    """ASTROMETRY_WCS with a CD matrix in degrees."""
    hdu = primary_hdu("ASTROMETRY_WCS")
    h = hdu.header
    h["HIERARCH ESO INS MODE"] = mode
    h["WCSAXES"] = 2
    h["WCSNAME"] = "spatial"
    h["CRPIX1"], h["CRPIX2"] = float(crpix[0]), float(crpix[1])
    h["CRVAL1"], h["CRVAL2"] = 0.5, 0.25
    h["CTYPE1"], h["CTYPE2"] = "RA---TAN", "DEC--TAN"
    h["CUNIT1"] = h["CUNIT2"] = "deg"
    for i in range(2):
        for j in range(2):
            h[f"CD{i + 1}_{j + 1}"] = float(cd[i, j])
    return _save(path, [hdu])


def write_filters(
    path: Path,
    curves: dict[str, tuple[np.ndarray, np.ndarray]],
    zero: dict | None = None,
    source: str = "",
) -> Path:
    """FILTER_LIST from curves {name: (wavelength, throughput)}."""
    hdus: list = [primary_hdu("FILTER_LIST", source)]
    for name, (wave, throughput) in curves.items():
        hdu = _table(None, _column("lambda", wave, unit="Angstrom"), _column("throughput", throughput))
        hdu.header["EXTNAME"] = name  # not through astropy, which would turn it to capitals
        vega, ab = (zero or {}).get(name, (21.0, 21.1))
        hdu.header["ZP_VEGA"], hdu.header["ZP_AB"] = vega, ab
        hdus.append(hdu)
    return _save(path, hdus)


def write_offsets(
    path: Path,
    dates: Sequence[str],
    mjds: Sequence[float],
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    scale: npt.ArrayLike | None = None,
) -> Path:
    """OFFSET_LIST; offsets in degrees."""
    columns = [
        fits.Column("DATE_OBS", "23A", array=np.asarray(dates)),
        _column("MJD_OBS", mjds, unit="s"),
        _column("RA_OFFSET", ra, unit="deg"),
        _column("DEC_OFFSET", dec, unit="deg"),
    ]
    if scale is not None:
        columns.append(_column("FLUX_SCALE", scale))
    return _save(path, [primary_hdu("OFFSET_LIST"), _table(None, *columns)])


def write_lines(
    path: Path, lines: LineList, tag: str = "SKY_LINES", oh_transitions: Any = None, source: str = ""
) -> Path:
    """SKY_LINES or RAMAN_LINES; oh_transitions: dict of the columns of the second extension."""
    hdus: list = [primary_hdu(tag, source)]
    if len(lines.name):
        hdus.append(
            _table(
                "LINES",
                fits.Column("name", "20A", array=np.array(lines.name)),
                _column("group", lines.group, "J"),
                _column("lambda", lines.wavelength, unit="Angstrom"),
                _column("flux", lines.flux, unit=SB_UNIT),
                _column("dq", np.zeros(len(lines.name), np.int32), "J"),
            )
        )
    if oh_transitions is not None:
        columns = [fits.Column("name", "20A", array=np.array(oh_transitions["name"]))]
        for name in ("lambda", "v_u", "v_l", "nu", "E_u", "J_u", "A"):
            form = "J" if name in ("v_u", "v_l", "nu") else "D"
            unit = {"lambda": "Angstrom", "E_u": "J"}.get(name)
            columns.append(_column(name, oh_transitions[name], form, unit))
        hdus.append(_table("OH_TRANSITIONS", *columns))
    return _save(path, hdus)


def write_continuum(path: Path, wave: np.ndarray, flux: np.ndarray) -> Path:
    """SKY_CONTINUUM."""
    unit = "10**(-20)*erg/(s cm^2 arcsec^2 Angstrom)"
    hdu = _table("CONTINUUM", _column("lambda", wave, unit="Angstrom"), _column("flux", flux, unit=unit))
    return _save(path, [primary_hdu("SKY_CONTINUUM"), hdu])


def write_lsf_images(outdir: Path, table: Any, ifus: Iterable[int], merged: bool = False) -> list[Path]:
    """LSF_PROFILE, image flavour: one file per IFU or one for all."""
    units = []
    for ifu in ifus:
        hdu = fits.ImageHDU(
            lsf_image(table, ifu), name=f"CHAN{ifu:02d}.LSF_PROFILE" if merged else "LSF_PROFILE"
        )
        h = hdu.header
        h["WCSAXES"] = 2
        h["CD1_1"], h["CD1_2"], h["CD2_1"], h["CD2_2"] = 15.0 / 149, 0.0, 0.0, 4650.0 / 29
        h["CRPIX1"], h["CRPIX2"] = 1.0, 1.0
        h["CRVAL1"], h["CRVAL2"] = -7.5, 4650.0
        h["CTYPE1"], h["CTYPE2"] = "PARAM", "AWAV"
        h["CUNIT1"] = h["CUNIT2"] = "Angstrom"
        units.append((ifu, hdu))
    if merged:
        return [_save(outdir / "LSF_PROFILE.fits", [primary_hdu("LSF_PROFILE"), *(u for _, u in units)])]
    paths = []
    for ifu, hdu in units:
        primary = primary_hdu("LSF_PROFILE")
        primary.header["EXTNAME"] = f"CHAN{ifu:02d}"
        paths.append(_save(outdir / f"LSF_PROFILE-{ifu:02d}.fits", [primary, hdu]))
    return paths


def write_lsf_table(path: Path, table: Any, ifus: Iterable[int]) -> Path:
    """LSF_PROFILE, parameter flavour: one table SLICE_PARAM with all IFUs."""
    rows = [(i, j) for i in ifus for j in range(1, 49)]
    n = len(rows)
    index = tuple(np.array(rows).T - 1)
    columns = [
        _column("ifu", [r[0] for r in rows], "J"),
        _column("slice", [r[1] for r in rows], "J"),
        _column("sensitivity", np.ones(n)),
        _column("offset", np.zeros(n)),
        _column("refraction", np.ones(n)),
    ]
    for name in ("slit_width", "bin_width", "lsf_width", "hermit3", "hermit4", "hermit5", "hermit6"):
        values = table[name][index]
        columns.append(_column(name, values, "D" if values.ndim == 1 else f"{values.shape[1]}D"))
    return _save(path, [primary_hdu("LSF_PROFILE"), _table("SLICE_PARAM", *columns)])


def write_mask(path: Path, mask: np.ndarray, wcs: dict | None) -> Path:
    """SKY_MASK (uint8, 1 = sky) with the given WCS cards."""
    hdu = fits.PrimaryHDU(mask.astype(np.uint8))
    hdu.header["INSTRUME"] = "MUSE"
    hdu.header["HIERARCH ESO PRO CATG"] = "SKY_MASK"
    for key, value in (wcs or {}).items():
        hdu.header[key] = value
    return _save(path, [hdu])


def write_output_wcs(path: Path, cards: dict, shape: tuple[int, int, int]) -> Path:
    """OUTPUT_WCS: a cube of zeros (bytes, extension DATA) of the given shape (nz, ny, nx)."""
    header = fits.Header()
    header["NAXIS"] = 3
    for key, value in cards.items():
        header[key] = value
    hdu = fits.ImageHDU(np.zeros(shape, np.uint8), header=header, name="DATA")
    return _save(path, [primary_hdu("OUTPUT_WCS"), hdu])


# wavelength ranges of the autocalibration [A] (20 without, 19 with lasers)
AUTOCAL_EDGES = (
    0, 5000, 5265, 5466, 5658, 5850, 6120, 6440, 6678, 6931, 7211, 7450, 7668, 7900, 8120, 8330, 8565, 8731,
    9012, 9275, 10000,
)  # fmt: skip
AUTOCAL_EDGES_AO = tuple(e for e in AUTOCAL_EDGES if e != 5850)


def write_autocal_factors(
    path: Path, throughput: np.ndarray, edges: Sequence[float] | np.ndarray = AUTOCAL_EDGES
) -> Path:
    """AUTOCAL_FACTORS that undo a throughput [range, ifu, slice] (slice fastest, then IFU, then range)."""
    nq = len(edges) - 1
    quad, ifu, sli = np.meshgrid(np.arange(1, nq + 1), np.arange(1, 25), np.arange(1, 49), indexing="ij")
    primary = primary_hdu("AUTOCAL_FACTORS")
    for k in range(nq):
        primary.header[f"HIERARCH ESO DRS MUSE LAMBDA{k + 1} MIN"] = float(edges[k])
        primary.header[f"HIERARCH ESO DRS MUSE LAMBDA{k + 1} MAX"] = float(edges[k + 1])
    hdu = _table(
        None,
        _column("ifu", ifu.ravel(), "J"),
        _column("sli", sli.ravel(), "J"),
        _column("quad", quad.ravel(), "J"),
        _column("npts", np.full(ifu.size, 1000), "J"),
        _column("corr", 1.0 / throughput.ravel()),
    )
    return _save(path, [primary, hdu])
