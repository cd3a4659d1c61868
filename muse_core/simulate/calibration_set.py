# SPDX-License-Identifier: BSD-3-Clause
"""Which calibration files go with a simulated observation, and with what content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muse_core.simulate import calibrations as cal
from muse_core.simulate.airglow import LineList, oh_transitions
from muse_core.simulate.exposure import Layout
from muse_core.simulate.physics import sky_continuum
from muse_core.simulate.scene import Scene


@dataclass(frozen=True)
class CalibrationChoice:
    """What to write: see the parameters of the same names of `simulate_scipost`."""

    telluric: bool = True
    astrometry: bool = True
    lsf: str | None = "image"
    sky: bool = True
    sky_tilt: float = 0.0
    flat_field: bool = False
    oh_table: bool = False
    filters: dict | None = None


@dataclass(frozen=True)
class FieldFrame:
    """Extent of the field: limits [pix], half size [arcsec], centre [deg], pixel scales [arcsec]."""

    xlim: tuple[float, float]
    ylim: tuple[float, float]
    half: tuple[float, float]
    centre: tuple[float, float]
    scale: np.ndarray


def default_filters(low: float, high: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Three smooth bands that divide a wavelength range, and one that covers it."""
    span = high - low
    curves = {}
    for name, centre, width in (
        ("BLUE", 1 / 6, 1 / 6),
        ("GREEN", 0.5, 1 / 6),
        ("RED", 5 / 6, 1 / 6),
        ("WIDE", 0.5, 0.45),
    ):
        wave = np.linspace(low + (centre - 1.3 * width) * span, low + (centre + 1.3 * width) * span, 81)
        u = (wave - low - centre * span) / (width * span)
        curves[name] = (wave, np.round(0.9 / (1 + np.abs(u) ** 8) * (np.abs(u) < 1.29), 6))
    return curves


def write_calibrations(
    outdir: Path,
    choice: CalibrationChoice,
    layout: Layout,
    lines: LineList,
    lsf_table: dict,
    solution: Any,
    mode: str,
) -> list[tuple[Path, str]]:
    """Write the calibrations; `solution` is (CD matrix [deg], CRPIX) of the astrometry."""
    ffcorr = choice.flat_field
    sof = [
        (cal.write_extinction(outdir / "extinct_table.fits"), "EXTINCT_TABLE"),
        (cal.write_response(outdir / "std_response.fits", ffcorr=ffcorr), "STD_RESPONSE"),
    ]
    if choice.telluric:
        sof.append((cal.write_telluric(outdir / "std_telluric.fits", ffcorr=ffcorr), "STD_TELLURIC"))
    if choice.astrometry:
        sof.append((cal.write_astrometry(outdir / "astrometry_wcs.fits", mode, *solution), "ASTROMETRY_WCS"))
    curves = choice.filters or default_filters(*layout.lambda_range)
    sof.append((cal.write_filters(outdir / "filter_list.fits", curves), "FILTER_LIST"))
    if choice.lsf == "table":
        sof.append((cal.write_lsf_table(outdir / "LSF_PROFILE.fits", lsf_table, layout.ifus), "LSF_PROFILE"))
    elif choice.lsf is not None:
        merged = choice.lsf == "merged"
        sof += [
            (p, "LSF_PROFILE") for p in cal.write_lsf_images(outdir, lsf_table, layout.ifus, merged=merged)
        ]
    if choice.sky:
        transitions = None
        if choice.oh_table:
            lines, transitions = oh_transitions(lines)
        path = cal.write_lines(outdir / "sky_lines.fits", lines, oh_transitions=transitions)
        sof.append((path, "SKY_LINES"))
        sof.append(
            (
                write_sky_continuum(outdir / "sky_continuum.fits", layout, 45.0, choice.sky_tilt),
                "SKY_CONTINUUM",
            )
        )
    return sof


def write_sky_continuum(path: Path, layout: Layout, level: float, tilt: float) -> Path:
    """SKY_CONTINUUM over the simulated range and a little more."""
    wave = np.arange(layout.lambda_range[0] - 20, layout.lambda_range[1] + 20, 1.25)
    return cal.write_continuum(path, wave, sky_continuum(wave, level, tilt))


def _celestial_cards(nx: int, ny: int, centre: tuple[float, float], scale: Any) -> dict:
    return {
        "CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2, "CRVAL1": centre[0], "CRVAL2": centre[1],
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CD1_1": -scale[0] / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale[1] / 3600,
    }  # fmt: skip


def write_sky_mask(path: Path, kind: str, scene: Scene, wcs: Any, frame: FieldFrame) -> Path:
    """SKY_MASK that leaves out all sources, on pixel coordinates ("pixel") or on the sky ("celestial").

    `wcs` is the pixel-to-sky relation of the (first) exposure as in `Light`.
    """
    sources = [np.array((s.xi, s.eta)) for s in scene.sources]
    if kind == "pixel":
        corner = np.array([frame.xlim[0] - 1, frame.ylim[0] - 1])
        nx, ny = int(np.diff(frame.xlim)[0]) + 3, int(np.diff(frame.ylim)[0]) + 3
        cards = {
            "CRPIX1": 1.0, "CRPIX2": 1.0, "CRVAL1": corner[0], "CRVAL2": corner[1], "CD1_1": 1.0, "CD2_2":
            1.0,
            "CD1_2": 0.0, "CD2_1": 0.0, "CTYPE1": "PIXEL", "CTYPE2": "PIXEL", "CUNIT1": "pixel", "CUNIT2":
            "pixel",
        }  # fmt: skip
        inverse = np.linalg.inv(np.array(wcs[2:]).reshape(2, 2))
        places = [inverse @ s + np.array(wcs[:2]) - corner for s in sources]
    elif kind == "celestial":
        nx, ny = (int(2 * h / s) + 3 for h, s in zip(frame.half, frame.scale, strict=True))
        cards = _celestial_cards(nx, ny, frame.centre, frame.scale)
        places = [s * (-1, 1) / frame.scale + ((nx - 1) / 2, (ny - 1) / 2) for s in sources]
    else:
        raise ValueError(f"sky_mask is 'pixel' or 'celestial', not {kind!r}")
    yy, xx = np.mgrid[:ny, :nx]
    mask = np.ones((ny, nx), bool)
    for px, py in places:
        mask &= np.hypot(xx - px, yy - py) > 7.0
    return cal.write_mask(path, mask, cards)


def write_output_grid(path: Path, frame: FieldFrame, lambda_range: tuple[float, float], nfm: bool) -> Path:
    """OUTPUT_WCS centred on the field, standard steps."""
    scale = (0.02519, 0.02542) if nfm else (0.2, 0.2)
    nx, ny = (int(2 * h / s) + 3 for h, s in zip(frame.half, frame.scale, strict=True))
    nz = round((lambda_range[1] - lambda_range[0]) / 1.25) + 1
    cards = _celestial_cards(nx, ny, frame.centre, scale)
    cards |= {"CTYPE3": "AWAV", "CUNIT3": "Angstrom", "CD3_3": 1.25, "CRPIX3": 1.0, "CRVAL3": lambda_range[0]}
    cards |= {"CD1_3": 0.0, "CD2_3": 0.0, "CD3_1": 0.0, "CD3_2": 0.0}
    return cal.write_output_wcs(path, cards, (nz, ny, nx))
