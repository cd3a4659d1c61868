# SPDX-License-Identifier: BSD-3-Clause
"""Simulate all inputs of muse_scipost: pixel tables of any IFUs and exposures, and every calibration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.simulate import calibrations as cal
from muse_core.simulate.airglow import LineList, sky_line_list
from muse_core.simulate.calibration_set import (
    CalibrationChoice,
    FieldFrame,
    write_calibrations,
    write_output_grid,
    write_sky_continuum,
    write_sky_mask,
)
from muse_core.simulate.exposure import Detector, Layout, Light, refraction_shift, write_exposure
from muse_core.simulate.geometry import SLICE_PITCH, instrument_geometry, sky_contiguous_slices
from muse_core.simulate.headers import ExposureInfo
from muse_core.simulate.lsf import lsf_parameters
from muse_core.simulate.physics import Pointing, Weather
from muse_core.simulate.scene import GRID_START, GRID_STEP, Scene, deproject, gnomonic, random_scene
from muse_core.simulate.slice_errors import SliceErrors

LAMBDA_RANGE = {"N": (4750.0, 9350.0), "E": (4650.0, 9300.0)}
MODES = ("WFM-NOAO-N", "WFM-NOAO-E", "WFM-AO-N", "WFM-AO-E", "NFM-AO-N")
DITHERS = (
    (0.0, 0.0),
    (1.7, -1.1),
    (-1.3, 0.9),
    (0.6, 1.8),
    (-1.9, -0.7),
    (2.3, 1.2),
    (-0.8, 2.1),
    (1.1, -2.2),
)
SKY_LEVEL = 45.0
RAMAN_SHAPE = (-2.0e-6, 5.0e-7, -1.5e-6, 2.0e-4, -1.0e-4)  # xx, xy, yy, x, y
RAMAN_LINES = LineList(
    ("O2 0", "O2 1", "O2 2", "N2 0", "N2 1", "N2 2"),
    np.array([0, 0, 0, 1, 1, 1]),
    np.array([6484.39, 6480.99, 6487.49, 6827.17, 6823.5, 6830.9]),
    np.array([100.0, 30.0, 28.0, 100.0, 25.0, 22.0]),
)
Frames = list[tuple[Path, str]]


@dataclass(frozen=True)
class Simulation:
    """A simulated observation on disk.

    Attributes
    ----------
    outdir : folder of all files
    sof : (path, tag) of every file, pixel tables first
    truth : what went in, also written to `truth.json` in the folder `truth`
    """

    outdir: Path
    sof: tuple[tuple[Path, str], ...]
    truth: dict

    def frames(self, *, without: Sequence[str] = (), only: Sequence[str] | None = None) -> Frames:
        """Frames with some tags left out (or only some tags)."""
        return [(p, t) for p, t in self.sof if t not in without and (only is None or t in only)]

    def paths(self, tag: str) -> list[Path]:
        """Files of one tag."""
        return [p for p, t in self.sof if t == tag]

    def write_sof(
        self, path: Path | None = None, *, without: Sequence[str] = (), absolute: bool = True
    ) -> Path:
        """Write a set-of-frames file (default: `scipost.sof` in the folder)."""
        path = self.outdir / "scipost.sof" if path is None else path
        lines = [f"{p.resolve() if absolute else p.name} {t}" for p, t in self.frames(without=without)]
        path.write_text("\n".join(lines) + "\n")
        return path


def simulate_scipost(
    outdir: Path | str,
    *,
    n_ifu: int = 2,
    n_exposures: int = 1,
    ifus: Sequence[int] | None = None,
    slices: int | Sequence[int] = 48,
    columns: int | None = None,
    lambda_range: tuple[float, float] | None = None,
    thinning: int = 1,
    seed: int = 1,
    mode: str = "WFM-NOAO-N",
    posang: float | Sequence[float] = 0.0,
    drot_mode: str = "SKY",
    dithers: Sequence[tuple[float, float]] | None = None,
    center: tuple[float, float] = (150.1, -30.2),
    centred: bool = False,
    hour_angle: float = 2.2,
    exptime: float | Sequence[float] = 600.0,
    mjd: float = 57800.25,
    seeing: float | Sequence[float] = 0.8,
    weather: Weather | None = None,
    true_weather: Weather | None = None,
    scene: Scene | None = None,
    object_name: str = "SYNTH",
    n_stars: int | None = None,
    n_galaxies: int | None = None,
    brightness: float = 1.0,
    sky: bool = True,
    sky_tilt: float = 0.0,
    line_error: float = 0.15,
    oh_table: bool = False,
    telluric: bool = True,
    astrometry: bool = True,
    detector: Detector | None = None,
    throughput_error: float = 0.0,
    slice_errors: SliceErrors | None = None,
    lsf_skew: float = 0.0,
    raman: float | None = None,
    flat_flux: bool = True,
    flat_field: bool = False,
    offsets: Sequence[tuple[float, float]] | None = None,
    flux_scales: Sequence[float] | None = None,
    lsf: str | None = "image",
    sky_mask: str | None = None,
    output_wcs: bool = False,
    autocal: bool = False,
    filters: dict | None = None,
    as_table: bool = False,
    truth_cosmics: bool = False,
    threads: int = 2,
) -> Simulation:
    """Write a complete set of input files of muse_scipost and return their list and the truth.

    Parameters
    ----------
    outdir : folder, made if missing
    n_ifu, ifus : number of IFUs (in the middle of the field) or their numbers
    centred : the telescope points at the middle of these IFUs, as C takes it, not of the instrument
    slices : number of slices (neighbours on the sky) or their CCD numbers
    columns : columns per slice, default all (about 75)
    lambda_range : [A], default that of the mode; the CCD rows stay contiguous
    thinning : keep every n-th block of 24 CCD rows
    posang, exptime, seeing : one value, or one per exposure
    dithers : (east, north) of each exposure [arcsec]
    weather, true_weather : what the header says and what bends the light (default: the same)
    scene : what to observe; default a random field (n_stars, n_galaxies, brightness)
    sky_tilt : additional slope of the sky continuum per 1000 A
    line_error : relative scatter of the true sky-line groups about the fluxes in SKY_LINES
    oh_table : OH lines of SKY_LINES as OH_TRANSITIONS
    throughput_error : rms of the throughput error of a slice (for the autocalibration)
    slice_errors : wavelengths, throughputs and profiles that are not what the calibrations say
    lsf_skew : asymmetry of the line-spread functions, which LSF_PROFILE tells
    raman : strength of the Raman light in laser modes (1: realistic; None: 1 in AO modes, 0 else)
    flat_flux : IFUs of slightly different flat-field level, with the keywords that tell it
    flat_field : pixel tables carry the lamp spectrum that flat-fielding took out
    offsets : pointing errors of the exposures [arcsec], undone by the OFFSET_LIST; flux_scales likewise
    lsf : "image", "merged" (image flavour in one file), "table", or None
    sky_mask : "pixel" or "celestial": write a SKY_MASK
    output_wcs, autocal : write OUTPUT_WCS; AUTOCAL_FACTORS that undo the throughput error
    as_table : pixel tables as binary tables
    truth_cosmics : save the rows hit by cosmic rays
    threads : slices computed at the same time

    Examples
    --------
    >>> import tempfile
    >>> sim = simulate_scipost(tempfile.mkdtemp(), n_ifu=1, slices=2, lambda_range=(6000, 6020))
    >>> [t for p, t in sim.sof][:2]
    ['PIXTABLE_OBJECT', 'EXTINCT_TABLE']
    """
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    outdir = Path(outdir)
    truth_dir = outdir / "truth"
    truth_dir.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 2])
    detector = detector or Detector()
    layout = Layout(
        instrument_geometry(),
        tuple(sorted(ifus)) if ifus is not None else _central_ifus(n_ifu),
        sky_contiguous_slices(slices) if isinstance(slices, int) else tuple(sorted(slices)),
        (lambda_range[0], lambda_range[1]) if lambda_range is not None else LAMBDA_RANGE[mode[-1]],
        columns,
        thinning,
    )
    nfm, ao = mode.startswith("NFM"), "-AO-" in mode
    limits = {ifu: layout.limits(ifu) for ifu in layout.ifus}
    cd, crpix = solution = astrometric_solution(nfm, astrometry)
    frame = _field_frame(limits, np.abs(np.diag(cd)) * 3600, center)
    if scene is None:
        area = 4 * frame.half[0] * frame.half[1] / 3600.0  # arcmin2
        scene = random_scene(
            rng, frame.half, n_stars=max(2, round(25 * area)) if n_stars is None else n_stars,
            n_galaxies=max(1, round(20 * area)) if n_galaxies is None else n_galaxies,
            lambda_range=layout.lambda_range, brightness=brightness * (0.05 if nfm else 1.0),
        )  # fmt: skip
    # how far the middle of the instrument is above that of the IFUs simulated [pix]
    missing = 0.0 if centred else 6.0 * SLICE_PITCH * (25 - min(layout.ifus) - max(layout.ifus))
    sources = scene.sources
    radec = deproject([s.xi for s in sources], [s.eta for s in sources], *center)
    lines = sky_line_list() if sky else LineList((), np.zeros(0, int), np.zeros(0), np.zeros(0))
    edges = cal.AUTOCAL_EDGES_AO if ao else cal.AUTOCAL_EDGES
    throughput = _throughput(np.random.default_rng([seed, 3]), throughput_error, len(edges) - 1)
    flat_fluxes, flat_factors = _flat_fluxes(layout.ifus, flat_flux)
    raman = (1.0 if raman is None else raman) if ao else 0.0
    raman_light = (
        (np.array(RAMAN_SHAPE), replace(RAMAN_LINES, flux=RAMAN_LINES.flux * raman)) if raman else None
    )
    flat_spectrum = _flat_spectrum() if flat_field else None
    lsf_table = lsf_parameters(lsf_skew)
    errors = None if slice_errors is None else slice_errors.draw(seed)

    posangs, exptimes, seeings = (_per_exposure(v, n_exposures) for v in (posang, exptime, seeing))
    dithers = list(dithers or (DITHERS[i % len(DITHERS)] for i in range(n_exposures)))
    if nfm:
        dithers, seeings = [(0.1 * a, 0.1 * b) for a, b in dithers], [0.1 * s for s in seeings]
    offsets = list(offsets or [(0.0, 0.0)] * n_exposures)
    weather = weather or Weather()

    sof: Frames = []
    exposures: list[dict] = []
    moment = mjd
    for k in range(n_exposures):
        matrix = _effective_cd(cd, -posangs[k] if drot_mode == "SKY" else posangs[k]) * 3600
        # the telescope points at the middle of the instrument; what is simulated of it looks at the scene
        beside = missing * matrix[:, 1]
        pole = tuple(
            float(v) for v in deproject(dithers[k][0] + beside[0], dithers[k][1] + beside[1], *center)
        )
        shown = ((pole[0] + offsets[k][0] / 3600) % 360.0, pole[1] + offsets[k][1] / 3600)
        lst = ((pole[0] + 15 * hour_angle + (moment - mjd) * 360.98565) % 360) * 240
        pointing = Pointing(*shown, lst, float(exptimes[k]))
        info = ExposureInfo(
            k + 1, mode, pointing, moment, posangs[k], drot_mode, weather, seeings[k], object_name, mjd,
            n_exposures,
        )  # fmt: skip
        middle = sum(frame.xlim) / 2, sum(frame.ylim) / 2 + missing
        wcs = np.array([middle[0] + crpix[0], middle[1] + crpix[1], *matrix.ravel()])
        factors = {int(g): max(0.2, float(1 + line_error * rng.normal())) for g in np.unique(lines.group)}
        level = SKY_LEVEL * (1 + 0.05 * float(rng.normal())) if sky else 0.0
        scale = 1.0 if flux_scales is None else float(flux_scales[k])
        centre = gnomonic(*center, *pole)
        light = Light(
            scene, seeings[k], wcs, (float(centre[0]), float(centre[1])), gnomonic(*radec, *pole),
            lines.scaled(factors), (level, sky_tilt), pointing.airmass,
            refraction_shift(replace(info, weather=true_weather or weather)),
            telluric=telluric, throughput=throughput, edges=edges, flat_flux=flat_factors, raman=raman_light,
            flux_scale=scale, flat_field=flat_spectrum, errors=errors,
        )  # fmt: skip
        paths = write_exposure(
            outdir, info, layout, light, detector, lsf_table, seed=seed, limits=limits,
            flat_fluxes=flat_fluxes,
            as_table=as_table, flat_field=flat_spectrum, threads=threads,
            truth_dir=truth_dir if truth_cosmics else None,
        )  # fmt: skip
        sof += [(p, "PIXTABLE_OBJECT") for p in paths]
        if sky:
            cal.write_lines(truth_dir / f"sky_lines_{k + 1:04d}.fits", light.lines)
            write_sky_continuum(truth_dir / f"sky_continuum_{k + 1:04d}.fits", layout, level, sky_tilt)
        exposures.append(
            {
                "date": info.date, "mjd": moment, "pole": pole, "shown": shown, "airmass": pointing.airmass,
                "posang": posangs[k], "line_factors": {str(g): f for g, f in factors.items()},
                "continuum_level": level, "wcs": wcs.tolist(), "flux_scale": scale, "exptime":
                float(exptimes[k]),
            }
        )  # fmt: skip
        moment += (exptimes[k] + 60.0) / 86400

    choice = CalibrationChoice(telluric, astrometry, lsf, sky, sky_tilt, flat_field, oh_table, filters)
    sof += write_calibrations(outdir, choice, layout, lines, lsf_table, solution, mode)
    if ao:
        sof.append((cal.write_lines(outdir / "raman_lines.fits", RAMAN_LINES, "RAMAN_LINES"), "RAMAN_LINES"))
    if any(o != (0.0, 0.0) for o in offsets) or flux_scales is not None:
        dates, mjds = [e["date"] for e in exposures], [e["mjd"] for e in exposures]
        ra, dec = ([o[i] / 3600 for o in offsets] for i in (0, 1))
        path = cal.write_offsets(outdir / "offset_list.fits", dates, mjds, ra, dec, flux_scales)
        sof.append((path, "OFFSET_LIST"))
    if sky_mask is not None:
        wcs = exposures[0]["wcs"]
        sof.append((write_sky_mask(outdir / "sky_mask.fits", sky_mask, scene, wcs, frame), "SKY_MASK"))
    if output_wcs:
        sof.append(
            (write_output_grid(outdir / "output_wcs.fits", frame, layout.lambda_range, nfm), "OUTPUT_WCS")
        )
    if autocal:
        table = throughput if throughput is not None else np.ones((len(edges) - 1, 24, 48))
        sof.append(
            (cal.write_autocal_factors(outdir / "autocal_factors.fits", table, edges), "AUTOCAL_FACTORS")
        )

    def positioned(items: Sequence[Any], first: int) -> list[dict]:
        return [
            asdict(s) | {"ra": float(radec[0][i]), "dec": float(radec[1][i])}
            for i, s in enumerate(items, first)
        ]

    truth = {
        "seed": seed, "mode": mode, "ifus": list(layout.ifus), "slices": list(layout.slices),
        "lambda_range": list(layout.lambda_range), "rows": int(sum(layout.n_rows(i) for i in layout.ifus)),
        "center": list(center), "seeing": seeings, "exposures": exposures,
        "stars": positioned(scene.stars, 0), "galaxies": positioned(scene.galaxies, len(scene.stars)),
        "raman": {"coefficients": list(RAMAN_SHAPE), "strength": raman}, "flat_factors": flat_factors,
        "sky_tilt": sky_tilt, "line_error": line_error, "detector": asdict(detector),
    }  # fmt: skip
    _save_spectra(truth_dir / "spectra.fits", scene)
    if throughput is not None:
        np.save(truth_dir / "throughput.npy", throughput)
        truth["throughput"] = "truth/throughput.npy"
    (truth_dir / "truth.json").write_text(json.dumps(truth, indent=1))
    simulation = Simulation(outdir, tuple(sof), truth)
    simulation.write_sof(absolute=False)
    return simulation


def _save_spectra(path: Path, scene: Scene) -> None:
    """Continuum of every source, stars first, one row each [1e-20 erg/s/cm2/A]."""
    spectra = [s.spectrum() for s in scene.sources]
    if spectra:
        hdu = fits.PrimaryHDU(np.stack(spectra))
        hdu.header.update({"CTYPE1": "AWAV", "CUNIT1": "Angstrom", "CRPIX1": 1.0})
        hdu.header.update({"CRVAL1": GRID_START, "CDELT1": GRID_STEP})
        hdu.writeto(path, overwrite=True)


def _central_ifus(n: int) -> tuple[int, ...]:
    if not 1 <= n <= 24:
        raise ValueError(f"n_ifu is 1 to 24, not {n}")
    first = min(max(1, 12 - (n - 1) // 2), 25 - n)
    return tuple(range(first, first + n))


def _field_frame(limits: dict[int, dict], scale: np.ndarray, centre: tuple[float, float]) -> FieldFrame:
    xlim = (min(v["X"][0] for v in limits.values()), max(v["X"][1] for v in limits.values()))
    ylim = (min(v["Y"][0] for v in limits.values()), max(v["Y"][1] for v in limits.values()))
    if not all(np.isfinite((*xlim, *ylim))):
        raise ValueError("no CCD row of the chosen slices lies in the wavelength range")
    half = (0.5 * (xlim[1] - xlim[0]) * scale[0], 0.5 * (ylim[1] - ylim[0]) * scale[1])
    return FieldFrame(xlim, ylim, half, (centre[0], centre[1]), scale)


def _effective_cd(cd_deg: np.ndarray, angle_deg: float) -> np.ndarray:
    """CD matrix of the astrometric solution turned by the position angle [deg per pix]."""
    (a, b), (c, d) = cd_deg
    xs, ys = np.hypot(a, b), np.hypot(c, d)
    xa, ya = np.arctan2(-b, -a), np.arctan2(-c, d)
    z = np.array([[np.cos(xa), -np.sin(xa)], [np.sin(ya), np.cos(ya)]])
    p = np.deg2rad(angle_deg)
    r = np.array([[np.cos(p), -np.sin(p)], [np.sin(p), np.cos(p)]])
    return r @ np.diag([-xs, ys]) @ np.linalg.inv(z)


def _per_exposure(value: Any, n: int) -> list:
    values = list(value) if isinstance(value, (tuple, list, np.ndarray)) else [value] * n
    if len(values) < n:
        raise ValueError(f"{len(values)} values given for {n} exposures")
    return values


def astrometric_solution(nfm: bool, own: bool) -> tuple[np.ndarray, tuple[float, float]]:
    """CD matrix [deg per pix] and CRPIX: the nominal one, or the simulated instrument's own."""
    if not own:
        steps = (0.02519, 0.02542) if nfm else (0.2, 0.2)
        return np.diag([-steps[0] / 3600, steps[1] / 3600]), (0.0, 0.0)
    sx, sy = (0.02519, 0.02542) if nfm else (0.2003, 0.2001)
    a = np.deg2rad(0.25)
    cd = np.array([[-sx * np.cos(a), sx * np.sin(a)], [sy * np.sin(a), sy * np.cos(a)]]) / 3600
    return cd, (-1.2, 0.7)


def _flat_fluxes(
    ifus: Iterable[int], wanted: bool
) -> tuple[dict[int, tuple[float, float]] | None, dict[int, float] | None]:
    """Keyword values (sky, lamp) of each IFU and the factor its data carry relative to the first one."""
    if not wanted:
        return None, None
    fluxes = {i: 1e6 * (1 + 0.02 * np.sin(2.3 * i)) for i in ifus}
    first = fluxes[min(ifus)]
    keywords = {i: (float(f), float(2.2 * f)) for i, f in fluxes.items()}
    return keywords, {i: float(f / first) for i, f in fluxes.items()}


def _flat_spectrum() -> tuple[np.ndarray, np.ndarray]:
    wave = np.arange(4550.0, 9450.0, 1.25)
    return wave, 1.0 + 0.1 * np.sin((wave - 7000) / 900.0)


def _throughput(rng: np.random.Generator, error: float, n_ranges: int) -> np.ndarray | None:
    """Relative throughput [range, ifu, slice]: an error of the slice and a smaller one of each range."""
    if error <= 0:
        return None
    return 1 + rng.normal(0, error, (1, 24, 48)) + rng.normal(0, 0.3 * error, (n_ranges, 24, 48))
