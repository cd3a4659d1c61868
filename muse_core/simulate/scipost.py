# SPDX-License-Identifier: BSD-3-Clause
"""Simulate all inputs of muse_scipost: pixel tables of any number of IFUs and exposures, and every calibration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from . import calibrations as cal
from .airglow import LineList, sky_line_list
from .exposure import Detector, Layout, Light, refraction_shift, write_exposure
from .geometry import instrument_geometry, sky_contiguous_slices
from .headers import ExposureInfo
from .lsf import lsf_parameters
from .physics import Pointing, Weather, sky_continuum
from .scene import Scene, deproject, gnomonic, random_scene

LAMBDA_RANGE = {"N": (4750.0, 9350.0), "E": (4650.0, 9300.0)}
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
RAMAN_LINES = LineList(
    ("O2 0", "O2 1", "O2 2", "N2 0", "N2 1", "N2 2"),
    np.array([0, 0, 0, 1, 1, 1]),
    np.array([6484.39, 6480.99, 6487.49, 6827.17, 6823.5, 6830.9]),
    np.array([100.0, 30.0, 28.0, 100.0, 25.0, 22.0]),
)


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

    def frames(
        self, *, without: Sequence[str] = (), only: Sequence[str] | None = None
    ) -> list[tuple[Path, str]]:
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


def _central_ifus(n: int) -> tuple[int, ...]:
    first = max(1, 12 - (n - 1) // 2)
    first = min(first, 25 - n)
    return tuple(range(first, first + n))


def _effective_cd(cd_deg: np.ndarray, angle_deg: float) -> np.ndarray:
    """CD matrix of the astrometric solution turned by the position angle [deg per pix]."""
    (a, b), (c, d) = cd_deg
    xs, ys = np.hypot(a, b), np.hypot(c, d)
    xa, ya = np.arctan2(-b, -a), np.arctan2(-c, d)
    z = np.array([[np.cos(xa), -np.sin(xa)], [np.sin(ya), np.cos(ya)]])
    p = np.deg2rad(angle_deg)
    r = np.array([[np.cos(p), -np.sin(p)], [np.sin(p), np.cos(p)]])
    return r @ np.diag([-xs, ys]) @ np.linalg.inv(z)


def _per_exposure(value, n: int) -> list:
    return list(value) if isinstance(value, (tuple, list, np.ndarray)) else [value] * n


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
    hour_angle: float = 2.2,
    exptime: float | Sequence[float] = 600.0,
    mjd: float = 57800.25,
    seeing: float | Sequence[float] = 0.8,
    weather: Weather | None = None,
    scene: Scene | None = None,
    n_stars: int | None = None,
    n_galaxies: int | None = None,
    brightness: float = 1.0,
    sky: bool = True,
    sky_tilt: float = 0.0,
    line_error: float = 0.15,
    telluric: bool = True,
    astrometry: bool = True,
    detector: Detector | None = None,
    throughput_error: float = 0.0,
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
    slices : number of slices (neighbours on the sky) or their CCD numbers
    columns : columns per slice, default all (about 75)
    lambda_range : [A], default that of the mode; the CCD rows stay contiguous
    thinning : keep every n-th block of 24 CCD rows
    posang, exptime, seeing : one value, or one per exposure
    dithers : (east, north) of each exposure [arcsec]
    scene : what to observe; default a random field (n_stars, n_galaxies, brightness)
    sky_tilt : additional slope of the sky continuum per 1000 A
    line_error : relative scatter of the true sky-line groups about the fluxes in SKY_LINES
    throughput_error : rms of the throughput error of a slice (for the autocalibration)
    raman : strength of the Raman light in laser modes (1: realistic; None: 1 in AO modes, 0 else)
    flat_flux : IFUs of slightly different flat-field level, with the keywords that tell it
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
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    truth_dir = outdir / "truth"
    truth_dir.mkdir(exist_ok=True)
    rng = np.random.default_rng([seed, 2])
    weather = weather or Weather()
    detector = detector or Detector()
    layout = Layout(
        instrument_geometry(),
        tuple(ifus) if ifus is not None else _central_ifus(n_ifu),
        sky_contiguous_slices(slices) if isinstance(slices, int) else tuple(sorted(slices)),
        tuple(lambda_range) if lambda_range is not None else LAMBDA_RANGE[mode[-1]],
        columns,
        thinning,
    )
    nfm, ao = mode.startswith("NFM"), "-AO-" in mode
    limits = {ifu: layout.limits(ifu) for ifu in layout.ifus}
    xlim = (min(v["X"][0] for v in limits.values()), max(v["X"][1] for v in limits.values()))
    ylim = (min(v["Y"][0] for v in limits.values()), max(v["Y"][1] for v in limits.values()))
    cd, crpix = _astrometry(nfm, astrometry)
    wcs_scale = np.abs(np.diag(cd)) * 3600
    half = (0.5 * (xlim[1] - xlim[0]) * wcs_scale[0], 0.5 * (ylim[1] - ylim[0]) * wcs_scale[1])
    if scene is None:
        area = 4 * half[0] * half[1] / 3600.0  # arcmin2
        scene = random_scene(
            rng, half, n_stars=max(2, round(25 * area)) if n_stars is None else n_stars,
            n_galaxies=max(1, round(20 * area)) if n_galaxies is None else n_galaxies,
            lambda_range=layout.lambda_range, brightness=brightness * (0.05 if nfm else 1.0),
        )  # fmt: skip
    radec = deproject(
        [s.xi for s in (*scene.stars, *scene.galaxies)],
        [s.eta for s in (*scene.stars, *scene.galaxies)],
        *center,
    )
    lines = sky_line_list() if sky else LineList((), np.zeros(0, int), np.zeros(0), np.zeros(0))
    edges = cal.AUTOCAL_EDGES_AO if ao else cal.AUTOCAL_EDGES
    throughput = None
    if throughput_error > 0:
        slice_part = rng.normal(0, throughput_error, (1, 24, 48))
        throughput = 1 + slice_part + rng.normal(0, 0.3 * throughput_error, (len(edges) - 1, 24, 48))
    flat_fluxes, flat_factors = _flat_fluxes(layout.ifus, flat_flux)
    if raman is None:
        raman = 1.0 if ao else 0.0
    raman_truth = np.array([-2.0e-6, 5.0e-7, -1.5e-6, 2.0e-4, -1.0e-4])
    if nfm or not ao:
        raman = raman if ao else 0.0

    posangs, exptimes, seeings = (_per_exposure(v, n_exposures) for v in (posang, exptime, seeing))
    dithers = dithers or [DITHERS[i % len(DITHERS)] for i in range(n_exposures)]
    if nfm:
        dithers = [(0.1 * a, 0.1 * b) for a, b in dithers]
        seeings = [0.1 * s for s in seeings]
    offsets = offsets or [(0.0, 0.0)] * n_exposures
    lsf_table = lsf_parameters()
    flat_spectrum = None
    if flat_field:
        wave = np.arange(4550.0, 9450.0, 1.25)
        flat_spectrum = (wave, 1.0 + 0.1 * np.sin((wave - 7000) / 900.0))

    sof: list[tuple[Path, str]] = []
    exposures, dates, mjds = [], [], []
    moment = mjd
    for k in range(n_exposures):
        d_ra, d_dec = deproject(dithers[k][0], dithers[k][1], *center)
        true_pole = (float(d_ra), float(d_dec))
        lst = ((true_pole[0] + 15 * hour_angle + (moment - mjd) * 360.98565) % 360) * 240
        shown = (true_pole[0] + offsets[k][0] / 3600, true_pole[1] + offsets[k][1] / 3600)
        pointing = Pointing(shown[0], shown[1], lst, float(exptimes[k]))
        info = ExposureInfo(k + 1, mode, pointing, moment, posangs[k], drot_mode, weather, seeings[k])
        angle = -posangs[k] if drot_mode == "SKY" else posangs[k]
        matrix = _effective_cd(cd, angle) * 3600
        wcs = np.array([sum(xlim) / 2 + crpix[0], sum(ylim) / 2 + crpix[1], *matrix.ravel()])
        factors = {int(g): float(1 + line_error * rng.normal()) for g in np.unique(lines.group)}
        factors = {g: max(f, 0.2) for g, f in factors.items()}
        level = 45.0 * (1 + 0.05 * float(rng.normal())) if sky else 0.0
        scale = 1.0 if flux_scales is None else flux_scales[k]
        centre = gnomonic(center[0], center[1], *true_pole)
        light = Light(
            scene, seeings[k], wcs, (float(centre[0]), float(centre[1])), gnomonic(*radec, *true_pole),
            lines.scaled(factors), (level, sky_tilt), pointing.airmass, refraction_shift(info),
            telluric=telluric, throughput=throughput, edges=edges, flat_flux=flat_factors,
            raman=(raman_truth, replace(RAMAN_LINES, flux=RAMAN_LINES.flux * raman)) if raman else None,
            flux_scale=scale, flat_field=flat_spectrum,
        )  # fmt: skip
        paths = write_exposure(
            outdir, info, layout, light, detector, lsf_table, seed=seed, limits=limits, flat_fluxes=flat_fluxes,
            as_table=as_table, flat_field=flat_spectrum, threads=threads, truth_dir=truth_dir if truth_cosmics else None,
        )  # fmt: skip
        sof += [(p, "PIXTABLE_OBJECT") for p in paths]
        dates.append(info.date)
        mjds.append(moment)
        exposures.append(
            {
                "date": info.date, "pole": true_pole, "shown": shown, "airmass": pointing.airmass,
                "posang": posangs[k], "line_factors": {str(g): f for g, f in factors.items()},
                "continuum_level": level, "wcs": wcs.tolist(), "flux_scale": scale, "exptime": float(exptimes[k]),
            }
        )  # fmt: skip
        moment += (exptimes[k] + 60.0) / 86400

    sof += _write_calibrations(
        outdir,
        layout,
        lines,
        telluric,
        astrometry,
        cd,
        crpix,
        mode,
        lsf,
        lsf_table,
        filters,
        sky,
        sky_tilt,
        flat_field,
    )
    if ao:
        sof.append((cal.write_lines(outdir / "raman_lines.fits", RAMAN_LINES, "RAMAN_LINES"), "RAMAN_LINES"))
    if any(o != (0.0, 0.0) for o in offsets) or flux_scales is not None:
        path = cal.write_offsets(
            outdir / "offset_list.fits", dates, mjds, [o[0] / 3600 for o in offsets], [o[1] / 3600 for o in offsets],
            flux_scales,
        )  # fmt: skip
        sof.append((path, "OFFSET_LIST"))
    if sky_mask is not None:
        sof.append(
            (
                _write_mask(
                    outdir, sky_mask, scene, exposures[0]["wcs"], xlim, ylim, half, center, wcs_scale
                ),
                "SKY_MASK",
            )
        )
    if output_wcs:
        sof.append((_write_output_wcs(outdir, half, center, layout.lambda_range, wcs_scale), "OUTPUT_WCS"))
    if autocal:
        table = throughput if throughput is not None else np.ones((len(edges) - 1, 24, 48))
        sof.append(
            (cal.write_autocal_factors(outdir / "autocal_factors.fits", table, edges), "AUTOCAL_FACTORS")
        )

    truth = {
        "seed": seed, "mode": mode, "ifus": list(layout.ifus), "slices": list(layout.slices),
        "lambda_range": list(layout.lambda_range), "rows": int(sum(layout.n_rows(i) for i in layout.ifus)),
        "center": list(center), "seeing": seeings, "exposures": exposures,
        "stars": [asdict(s) | {"ra": float(radec[0][i]), "dec": float(radec[1][i])} for i, s in enumerate(scene.stars)],
        "galaxies": [
            asdict(g) | {"ra": float(radec[0][i]), "dec": float(radec[1][i])}
            for i, g in enumerate(scene.galaxies, len(scene.stars))
        ],
        "raman": {"coefficients": raman_truth.tolist(), "strength": raman}, "flat_factors": flat_factors,
        "sky_tilt": sky_tilt, "line_error": line_error, "detector": asdict(detector),
    }  # fmt: skip
    if throughput is not None:
        np.save(truth_dir / "throughput.npy", throughput)
        truth["throughput"] = str(truth_dir / "throughput.npy")
    (truth_dir / "truth.json").write_text(json.dumps(truth, indent=1))
    simulation = Simulation(outdir, tuple(sof), truth)
    simulation.write_sof(absolute=False)
    return simulation


def _astrometry(nfm: bool, own: bool) -> tuple[np.ndarray, tuple[float, float]]:
    if not own:
        steps = (0.02519, 0.02542) if nfm else (0.2, 0.2)
        return np.diag([-steps[0] / 3600, steps[1] / 3600]), (0.0, 0.0)
    sx, sy = (0.02519, 0.02542) if nfm else (0.2003, 0.2001)
    a = np.deg2rad(0.25)
    cd = np.array([[-sx * np.cos(a), sx * np.sin(a)], [sy * np.sin(a), sy * np.cos(a)]]) / 3600
    return cd, (-1.2, 0.7)


def _flat_fluxes(ifus, wanted: bool):
    if not wanted:
        return None, None
    fluxes = {i: 1e6 * (1 + 0.02 * np.sin(2.3 * i)) for i in ifus}
    first = fluxes[min(ifus)]
    return {i: (float(f), float(2.2 * f)) for i, f in fluxes.items()}, {
        i: float(f / first) for i, f in fluxes.items()
    }


def _write_calibrations(
    outdir,
    layout,
    lines,
    telluric,
    astrometry,
    cd,
    crpix,
    mode,
    lsf,
    lsf_table,
    filters,
    sky,
    sky_tilt,
    flat_field,
) -> list[tuple[Path, str]]:
    sof = [
        (cal.write_extinction(outdir / "extinct_table.fits"), "EXTINCT_TABLE"),
        (cal.write_response(outdir / "std_response.fits", ffcorr=flat_field), "STD_RESPONSE"),
    ]
    if telluric:
        sof.append((cal.write_telluric(outdir / "std_telluric.fits", ffcorr=flat_field), "STD_TELLURIC"))
    if astrometry:
        sof.append((cal.write_astrometry(outdir / "astrometry_wcs.fits", mode, cd, crpix), "ASTROMETRY_WCS"))
    curves = filters or default_filters(*layout.lambda_range)
    sof.append((cal.write_filters(outdir / "filter_list.fits", curves), "FILTER_LIST"))
    if lsf is not None:
        if lsf == "table":
            paths = [cal.write_lsf_table(outdir / "LSF_PROFILE.fits", lsf_table, layout.ifus)]
        else:
            paths = cal.write_lsf_images(outdir, lsf_table, layout.ifus, merged=lsf == "merged")
        sof += [(p, "LSF_PROFILE") for p in paths]
    if sky:
        sof.append((cal.write_lines(outdir / "sky_lines.fits", lines), "SKY_LINES"))
        wave = np.arange(layout.lambda_range[0] - 20, layout.lambda_range[1] + 20, 1.25)
        path = cal.write_continuum(outdir / "sky_continuum.fits", wave, sky_continuum(wave, 45.0, sky_tilt))
        sof.append((path, "SKY_CONTINUUM"))
    return sof


def _write_mask(outdir, kind, scene, wcs, xlim, ylim, half, center, scale) -> Path:
    sources = [(s.xi, s.eta) for s in (*scene.stars, *scene.galaxies)]
    inverse = np.linalg.inv(np.array(wcs[2:]).reshape(2, 2))
    if kind == "pixel":
        nx, ny = int(xlim[1] - xlim[0]) + 3, int(ylim[1] - ylim[0]) + 3
        cards = {
            "CRPIX1": 1.0, "CRPIX2": 1.0, "CRVAL1": xlim[0] - 1, "CRVAL2": ylim[0] - 1, "CD1_1": 1.0, "CD2_2": 1.0,
            "CD1_2": 0.0, "CD2_1": 0.0, "CTYPE1": "PIXEL", "CTYPE2": "PIXEL", "CUNIT1": "pixel", "CUNIT2": "pixel",
        }  # fmt: skip
        places = [inverse @ np.array(s) + np.array(wcs[:2]) - [xlim[0] - 1, ylim[0] - 1] for s in sources]
    else:
        nx, ny = (int(2 * h / s) + 3 for h, s in zip(half, scale, strict=True))
        cards = {
            "CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2, "CRVAL1": center[0], "CRVAL2": center[1],
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
            "CD1_1": -scale[0] / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale[1] / 3600,
        }  # fmt: skip
        places = [
            np.array([-s[0] / scale[0] + (nx - 1) / 2, s[1] / scale[1] + (ny - 1) / 2]) for s in sources
        ]
    yy, xx = np.mgrid[:ny, :nx]
    mask = np.ones((ny, nx), bool)
    for px, py in places:
        mask &= np.hypot(xx - px, yy - py) > 7.0
    return cal.write_mask(outdir / "sky_mask.fits", mask, cards)


def _write_output_wcs(outdir, half, center, lambda_range, scale) -> Path:
    nx, ny = (int(2 * h / s) + 3 for h, s in zip(half, scale, strict=True))
    nz = round((lambda_range[1] - lambda_range[0]) / 1.25) + 1
    cards = {
        "CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2, "CRVAL1": center[0], "CRVAL2": center[1],
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CD1_1": -0.2 / 3600 if scale[0] > 0.1 else -scale[0] / 3600, "CD1_2": 0.0, "CD2_1": 0.0,
        "CD2_2": 0.2 / 3600 if scale[1] > 0.1 else scale[1] / 3600,
        "CTYPE3": "AWAV", "CUNIT3": "Angstrom", "CD3_3": 1.25, "CRPIX3": 1.0, "CRVAL3": lambda_range[0],
        "CD1_3": 0.0, "CD2_3": 0.0, "CD3_1": 0.0, "CD3_2": 0.0,
    }  # fmt: skip
    return cal.write_output_wcs(outdir / "output_wcs.fits", cards, (nz, ny, nx))
