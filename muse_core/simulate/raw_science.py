# SPDX-License-Identifier: BSD-3-Clause
"""Raw science frames of a simulated night: the light of `muse_core.simulate.scipost` on the raw detector.

The same sources, sky, response and line profiles as in simulated pixel tables fall on the detector whose
traces, wavelengths and geometry `raw_instrument` describes, through the throughputs that master flats, ILLUM
and sky flats tell. One channel is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.detector.pixels import build_pixel_map
from muse_core.detector.rows import row_wavelengths, table_extent
from muse_core.detector.tables import SliceGeometry
from muse_core.simulate import raw_detector as detector
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.airglow import sky_line_list
from muse_core.simulate.calibration_set import CalibrationChoice, FieldFrame, write_calibrations
from muse_core.simulate.exposure import Layout, Light, expected_counts, refraction_shift, sensitivity_table
from muse_core.simulate.geometry import instrument_geometry
from muse_core.simulate.headers import ExposureInfo, primary_header
from muse_core.simulate.lsf import lsf_parameters
from muse_core.simulate.physics import Pointing, Weather
from muse_core.simulate.raw import append_image, channel_header, simulate_raw
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.scene import Scene, deproject, gnomonic, random_scene
from muse_core.simulate.scipost import DITHERS, SKY_LEVEL, astrometric_solution

SCIENCE = 5  # kind of random numbers
OF_PRODUCTS = ("ESO PRO ", "ESO DRS ", "ESO DET CHIP", "ESO DET OUT", "PIPEFILE", "EXTNAME")
KEEP = {"N": (4750.0, 9350.0), "E": (4600.0, 9350.0)}
Shift = float | Callable[[int, int], float]

REAL_IFU_STEP = 12.35
"""Pixels between the IFUs of the real instrument, by which the place of those simulated is known."""


@dataclass(frozen=True)
class RawScience:
    """A simulated observation in raw frames.

    Attributes
    ----------
    folder : Path
    raw : list of (Path, tag)
        Science frames, ILLUM, masters and tables: the set of frames of muse_scibasic (without sky flats).
    skyflats : list of (Path, tag)
        What muse_twilight takes instead of the science frames.
    calibrations : list of (Path, tag)
        What muse_scipost needs beside pixel tables.
    truth : dict
    """

    folder: Path
    raw: list[tuple[Path, str]]
    skyflats: list[tuple[Path, str]]
    calibrations: list[tuple[Path, str]]
    truth: dict


def _frame(setup: RawSetup, center: tuple[float, float], scale: np.ndarray) -> FieldFrame:
    """Extent of the pixel tables that the frames will become."""
    limits = np.array([np.inf, -np.inf] * 2)
    for ifu in setup.ifus:
        columns = instrument.geometry_columns(setup, (ifu,))
        geometry = SliceGeometry(columns["x"], columns["y"], np.deg2rad(columns["angle"]), columns["width"])
        trace = instrument.trace_polynomials(setup, ifu)[:, 1:]
        wave = instrument.wave_polynomials(setup, ifu)
        pixels = build_pixel_map(ifu, setup.shape, trace, wave, geometry, setup.mode)
        found = table_extent(pixels, row_wavelengths(pixels), KEEP[setup.mode[-1]]).limits
        limits[0::2] = np.minimum(limits[0::2], found[0:4:2])
        limits[1::2] = np.maximum(limits[1::2], found[1:4:2])
    half = (0.5 * (limits[1] - limits[0]) * scale[0], 0.5 * (limits[3] - limits[2]) * scale[1])
    return FieldFrame((limits[0], limits[1]), (limits[2], limits[3]), half, center, scale)


def light_on_slices(
    setup: RawSetup, ifu: int, light: Light, sources: Any, table: Any, lsf: dict, shift: Shift
) -> np.ndarray:
    """Counts of one exposure on the trimmed detector of one IFU, pixel response apart (float32[ny, nx])."""
    height, width = setup.shape
    image = np.zeros((height, width), np.float32)
    y = np.arange(1, height + 1, dtype=float)
    trace, wave = instrument.trace_polynomials(setup, ifu), instrument.wave_polynomials(setup, ifu)
    columns = instrument.geometry_columns(setup, (ifu,))
    through = instrument.slice_throughput(setup, ifu) * instrument.ifu_throughput(setup)[ifu]
    change = instrument.illum_change(setup, ifu)
    for s in range(instrument.NSLICE):
        edges = [np.polynomial.polynomial.polyval(y, trace[s, k]) for k in (1, 2)]
        x1, x2 = max(int(edges[0].min()) - 3, 1), min(int(edges[1].max()) + 4, width)
        x = np.arange(x1, x2 + 1, dtype=float)[None, :]
        left, right = edges[0][:, None], edges[1][:, None]
        powers = [np.polynomial.polynomial.polyval(y, wave[s, i])[:, None] for i in range(3)]
        lam = powers[0] + x * (powers[1] + x * powers[2])
        u = (x - 0.5 * (left + right)) / (right - left) * columns["width"][s]
        angle = np.deg2rad(columns["angle"][s])
        place = (columns["x"][s] - u * np.cos(angle), columns["y"][s] - u * np.sin(angle))
        moved = lam - (shift(ifu, s + 1) if callable(shift) else shift)
        flat = [np.ascontiguousarray(v, np.float32).ravel() for v in (*place, moved)]
        counts = expected_counts(light, sources, table, lsf, (flat[0], flat[1], flat[2]), ifu, s + 1)
        profile = 0.5 * (np.tanh((x - left) / 0.6) - np.tanh((x - right) / 0.6)) * through[s] * change[s]
        lamp = instrument.lamp_spectrum(lam) / detector.MEAN_LAMP  # the flat field takes it out again
        light_path = instrument.sky_illumination(setup, *place, lam)
        image[:, x1 - 1 : x2] += profile * lamp * light_path * counts.reshape(lam.shape)
    return image


def _raw_header(info: ExposureInfo) -> fits.Header:
    header = primary_header(info, 1, "", None)
    for key in [k for k in header if k.startswith(OF_PRODUCTS)]:
        del header[key]
    return header


def simulate_raw_science(
    folder: Path | str,
    setup: RawSetup,
    *,
    exposures: int = 1,
    exptime: float = 600.0,
    center: tuple[float, float] = (150.1, -30.2),
    seeing: float = 0.8,
    n_stars: int = 6,
    n_galaxies: int = 0,
    brightness: float = 1.0,
    scene: Scene | None = None,
    shift: Shift = 0.0,
    skyflats: int = 3,
    illum: bool = True,
    merged: bool = True,
    calibrations: bool = True,
    dithers: Sequence[tuple[float, float]] = DITHERS,
    progress: Callable[[Iterable], Iterable] = iter,
) -> RawScience:
    """Write raw science frames, sky flats, all calibrations and the truth.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    setup : RawSetup
        Detector (miniature or real), IFUs, mode, seed.
    exposures : int
    exptime : float
        Seconds.
    center : tuple of float
        Field centre (degrees).
    seeing : float
        Arcseconds.
    n_stars, n_galaxies, brightness, scene
        A random field, or the scene itself.
    shift : float, or callable (ifu, slice) -> float
        By how much lines lie at larger wavelengths than the wavelength solution says (Angstrom).
    skyflats : int
        Number of sky flats for muse_twilight.
    illum, merged
        As in `simulate_raw`.
    calibrations : bool
        Write what muse_scipost needs, too.
    dithers : sequence of tuple of float
        East and north of each exposure (arcsec).
    progress : callable
        Wraps the loop over IFUs.
    """
    folder = Path(folder)
    sof = simulate_raw(folder, setup, skyflats=skyflats, illum=illum, merged=merged)
    listed = [(folder / name, tag) for name, tag in (line.split() for line in sof.read_text().splitlines())]
    nfm = setup.mode.startswith("NFM")
    cd, crpix = solution = astrometric_solution(nfm, own=True)
    frame = _frame(setup, center, np.abs(np.diag(cd)) * 3600)
    if scene is None:
        rng = np.random.default_rng([setup.seed, 6])
        low, high = max(setup.lambda_min, 4700.0), min(setup.lambda_max, 9350.0)
        scene = random_scene(
            rng, frame.half, n_stars=n_stars, n_galaxies=n_galaxies, lambda_range=(low, high),
            brightness=brightness,
        )  # fmt: skip
    stars = scene.sources
    radec = deproject([s.xi for s in stars], [s.eta for s in stars], *center)
    lines, lsf = sky_line_list(), lsf_parameters(0.0)
    matrix = cd * 3600
    # the telescope points at the middle of the instrument; what is simulated of it looks at the scene
    missing = setup.direction * REAL_IFU_STEP * (25 - min(setup.ifus) - max(setup.ifus)) / 2.0
    beside = missing * matrix[:, 1]
    middle = sum(frame.xlim) / 2, sum(frame.ylim) / 2 + missing
    wcs = np.array([middle[0] + crpix[0], middle[1] + crpix[1], *matrix.ravel()], dtype=float)
    shots = []
    for k in range(exposures):
        east, north = dithers[k % len(dithers)]
        pole = tuple(float(v) for v in deproject(east + beside[0], north + beside[1], *center))
        mjd = 57800.25 + k * (exptime + 60) / 86400
        lst = ((pole[0] + 33.0 + (mjd - 57800.25) * 360.98565) % 360) * 240
        pointing = Pointing(pole[0], pole[1], lst, exptime)
        info = ExposureInfo(k + 1, setup.mode, pointing, mjd, 0.0, "SKY", Weather(), seeing, "SYNTH")
        centre = gnomonic(*center, *pole)
        light = Light(
            scene, seeing, wcs, (float(centre[0]), float(centre[1])), gnomonic(*radec, *pole), lines,
            (SKY_LEVEL, 0.0), pointing.airmass, refraction_shift(info),
        )  # fmt: skip
        path = folder / f"object{k}.fits"
        fits.PrimaryHDU(header=_raw_header(info)).writeto(path, overwrite=True)
        sources = scene.source_table(seeing, *light.positions)
        shots.append((path, light, sources, sensitivity_table(light, exptime)))
    for ifu in progress(setup.ifus):
        response = detector.pixel_response(setup, ifu)
        dark = detector.dark_image(setup, ifu) * np.float32(exptime / 1800.0)
        for k, (path, light, sources, table) in enumerate(shots):
            signal = light_on_slices(setup, ifu, light, sources, table, lsf, shift) * response + dark
            append_image(path, detector.read_out(setup, ifu, k, signal, SCIENCE), channel_header(setup, ifu))
    layout = Layout(instrument_geometry(), setup.ifus, tuple(range(1, 49)), KEEP[setup.mode[-1]])
    extra = []
    if calibrations:
        extra = write_calibrations(
            folder, CalibrationChoice(flat_field=False), layout, lines, lsf, solution, setup.mode
        )
    truth = {
        "setup": asdict(setup),
        "center": list(center),
        "stars": [
            asdict(s) | {"ra": float(radec[0][i]), "dec": float(radec[1][i])}
            for i, s in enumerate(scene.stars)
        ],
        "exptime": exptime,
        "seeing": seeing,
        "wcs": wcs.tolist(),
    }
    (folder / "science_truth.json").write_text(json.dumps(truth, indent=1, default=float))
    raw = [(path, "OBJECT") for path, *_ in shots] + [
        f for f in listed if f[1] not in ("SKYFLAT", "VIGNETTING_MASK")
    ]
    (folder / "scibasic.sof").write_text("".join(f"{path.name} {tag}\n" for path, tag in raw))
    flats = [frame for frame in listed if frame[1] != "OBJECT"]
    return RawScience(folder, raw, flats, list(extra), truth)
