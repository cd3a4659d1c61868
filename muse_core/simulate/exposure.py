# SPDX-License-Identifier: BSD-3-Clause
"""One simulated exposure: the slices of all IFUs, computed in parallel and streamed into their files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muse_core.simulate import kernels, physics
from muse_core.simulate.airglow import LineList
from muse_core.simulate.calibrations import extinction_curve, response_nodes, telluric_nodes
from muse_core.simulate.geometry import CCD_ROWS, Geometry
from muse_core.simulate.headers import ExposureInfo, add_pixtable_group, primary_header
from muse_core.simulate.lsf import line_spectrum, lsf_sigma, slice_parameters
from muse_core.simulate.scene import GRID_START, GRID_STEP, Scene, SceneCube, wavelength_grid
from muse_core.simulate.slice_errors import DrawnErrors
from muse_core.simulate.tablewriter import PixelTableWriter

FINE_STEP = 0.05  # Angstrom, sky spectra
SENSITIVITY_STEP = 0.25
NOTCH = (5805.0, 5965.0)  # sodium notch of the laser modes [A]
TELLURIC_START = 6273.0


@dataclass(frozen=True)
class Layout:
    """Which part of the instrument is simulated: IFUs, CCD slices, columns and rows."""

    geometry: Geometry
    ifus: tuple[int, ...]
    slices: tuple[int, ...]
    lambda_range: tuple[float, float]
    columns: int | None = None
    thinning: int = 1
    block: int = 24

    def rows(self, ifu: int, slice_: int) -> np.ndarray:
        """CCD rows of a slice, 1-based: the wavelength range, or blocks of contiguous rows of it."""
        wave = self.geometry.row_wavelengths(ifu, slice_)
        keep = (wave >= self.lambda_range[0]) & (wave <= self.lambda_range[1])
        if self.thinning > 1:
            # the blocks lie at the same wavelengths in all slices, so that voxels are as well filled as in
            # full data
            phase = (wave - self.lambda_range[0]) / (1.25 * self.block)
            keep &= np.floor(phase).astype(int) % self.thinning == 0
        return (np.arange(1, CCD_ROWS + 1)[keep]).astype(np.int64)

    def n_columns(self, ifu: int, slice_: int) -> int:
        """Columns of a slice."""
        full = int(np.floor(self.geometry.ccd_width[ifu - 1, slice_ - 1]))
        return full if self.columns is None else min(self.columns, full)

    def n_rows(self, ifu: int) -> int:
        """Pixel-table rows of one IFU."""
        return sum(self.rows(ifu, s).size * self.n_columns(ifu, s) for s in self.slices)

    def coordinates(self, ifu: int, slice_: int) -> dict[str, np.ndarray]:
        """Coordinate columns of one slice."""
        rows = self.rows(ifu, slice_)
        ncol = self.n_columns(ifu, slice_)
        n = rows.size * ncol
        out = {name: np.empty(n, np.float32) for name in ("xpos", "ypos", "lambda")}
        out["origin"] = np.empty(n, np.int32)
        kernels.fill_coordinates(
            self.geometry.parameters(ifu, slice_), rows, ncol, self.geometry.xoffset(ifu, slice_),
            ifu << 6 | slice_, out["xpos"], out["ypos"], out["lambda"], out["origin"],
        )  # fmt: skip
        return out

    def limits(self, ifu: int) -> dict[str, tuple[float, float]]:
        """Smallest and largest xpos, ypos and lambda of one IFU."""
        low = np.full(3, np.inf)
        high = np.full(3, -np.inf)
        for slice_ in self.slices:
            c = self.coordinates(ifu, slice_)
            for k, name in enumerate(("xpos", "ypos", "lambda")):
                if c[name].size:
                    lo, hi = kernels.extremes(c[name])
                    low[k], high[k] = min(low[k], lo), max(high[k], hi)
        return {n: (float(low[k]), float(high[k])) for k, n in enumerate(("X", "Y", "LAMBDA"))}


@dataclass(frozen=True)
class Light:
    """The light of one exposure, and how the instrument detects it.

    Attributes
    ----------
    wcs : float64[6]   reference pixel and matrix pixel -> tangent-plane arcsec
    centre : tangent-plane position of the field centre seen from this exposure [arcsec]
    positions : (xi, eta) of all sources seen from this exposure [arcsec]
    lines : sky lines as they shine in this exposure
    continuum : level and tilt of the sky continuum
    throughput : float64[range, ifu, slice] with wavelength edges, or None
    flat_flux : {ifu: factor} that the merging will take out
    raman : coefficients (5) and LineList, or None
    flux_scale : what the exposure has to be multiplied with
    flat_field : lamp spectrum (wavelength, value) that flat-fielding took out, or None
    errors : what the calibrations do not tell of the slices, or None
    """

    scene: Scene
    seeing: float
    wcs: np.ndarray
    centre: tuple[float, float]
    positions: tuple[np.ndarray, np.ndarray]
    lines: LineList
    continuum: tuple[float, float]
    airmass: float
    shift: np.ndarray
    telluric: bool = True
    extinction: bool = True
    throughput: np.ndarray | None = None
    edges: tuple[float, ...] = ()
    flat_flux: dict[int, float] | None = None
    raman: tuple[np.ndarray, LineList] | None = None
    flux_scale: float = 1.0
    flat_field: tuple[np.ndarray, np.ndarray] | None = None
    errors: DrawnErrors | None = None


@dataclass(frozen=True)
class Detector:
    """Noise and faults of the detectors."""

    noise: bool = True
    readnoise: float = 2.8
    variance_from_data: bool = True
    cosmic_rate: float = 3e-5
    bad_fraction: float = 5e-4


def sensitivity_table(light: Light, exptime: float) -> tuple[np.ndarray, float]:
    """Counts per flux unit (1e-20 erg/s/cm2/A in a spaxel) on a grid from GRID_START, and its step."""
    wave = GRID_START + SENSITIVITY_STEP * np.arange(int(5000 / SENSITIVITY_STEP) + 1)
    response = np.interp(wave, *response_nodes())
    magnitudes = response
    if light.extinction:
        nodes = np.arange(3200.0, 10500.0, 40.0)  # the nodes of the table the recipe gets
        magnitudes = response - np.interp(wave, nodes, extinction_curve(nodes)) * light.airmass
    table = exptime * physics.TELESCOPE_BIN * 1e-20 * 10 ** (0.4 * magnitudes)
    if light.flat_field is not None:
        table = table / np.interp(wave, *light.flat_field)
    if light.telluric:
        nodes, transmission = telluric_nodes()
        g = np.interp(wave, nodes, transmission ** (-light.airmass))
        table = np.where(wave >= TELLURIC_START, table / g, table)
    return table, SENSITIVITY_STEP


def _sky_table(light: Light, par: np.ndarray, low: float, high: float) -> tuple[np.ndarray, float]:
    lam0 = low - 1.0
    table = np.zeros(int((high - low + 2.0) / FINE_STEP) + 2)
    level, tilt = light.continuum
    if level > 0:
        table += physics.sky_continuum(lam0 + FINE_STEP * np.arange(table.size), level, tilt)
    near = light.lines.within(low - 10, high + 10)
    line_spectrum(par, near.wavelength, near.flux, lam0, FINE_STEP, 7.5, table)
    return table, lam0


def _slice_rows(
    layout: Layout,
    light: Light,
    sources: Any,
    detector: Detector,
    table: Any,
    lsf: Any,
    seed: int,
    number: int,
    ifu: int,
    slice_: int,
) -> Any:
    """All columns of one slice."""
    c = layout.coordinates(ifu, slice_)
    x, y, lam = c["xpos"], c["ypos"], c["lambda"]
    n = lam.size
    c["dq"] = np.zeros(n, np.int32)
    c["data"], c["stat"] = np.empty(n, np.float32), np.empty(n, np.float32)
    if not n:
        return c, np.zeros(0, bool)
    flux = expected_counts(light, sources, table, lsf, (x, y, lam), ifu, slice_)
    state = np.random.SeedSequence((seed, number, ifu, slice_)).generate_state(2, np.uint64)
    kernels.add_noise(
        state, flux, detector.noise, detector.readnoise, detector.variance_from_data, c["data"], c["stat"]
    )
    hit = np.zeros(n, bool)
    kernels.add_cosmics(state, layout.n_columns(ifu, slice_), detector.cosmic_rate, c["data"], hit)
    kernels.add_bad_pixels(state, detector.bad_fraction, c["data"], c["dq"])
    return c, hit


def expected_counts(
    light: Light, sources: Any, table: Any, lsf: Any, place: Any, ifu: int, slice_: int
) -> np.ndarray:
    """Counts without noise at places of one slice.

    Parameters
    ----------
    light : Light
    sources : tuple
        From `Scene.source_table`.
    table : tuple
        From `sensitivity_table`.
    lsf : dict
        From `lsf_parameters`.
    place : tuple of float32[n]
        Position in the field (pixels) in x and y, wavelength (Angstrom).
    ifu, slice_ : int

    Returns
    -------
    float64[n]
    """
    x, y, lam = place
    par = slice_parameters(lsf, ifu, slice_)
    if light.errors is not None:
        lam = light.errors.true_wavelength(ifu, slice_, lam)
        par[2:5] *= light.errors.width[ifu - 1, slice_ - 1]
    low, high = (float(v) for v in kernels.extremes(lam))
    flux = np.zeros(lam.size)
    table_of_sources, spectra = sources
    if len(table_of_sources):
        near = _near(table_of_sources, light, x, y)
        if near.size:
            sigma = lsf_sigma(par, 0.5 * (low + high))
            kernels.add_sources(
                x, y, lam, light.shift, light.wcs, table_of_sources[near], spectra[near],
                GRID_START, GRID_STEP, sigma, flux,
            )  # fmt: skip
    for cube in light.scene.cubes:
        _add_cube(cube, light, x, y, lam, flux)
    sky, lam0 = _sky_table(light, par, low, high)
    kernels.add_spectrum(lam, sky, lam0, FINE_STEP, flux)
    if light.raman is not None:
        coefficients, lines = light.raman
        spectrum = np.zeros(sky.size)
        line_spectrum(par, lines.wavelength, lines.flux, lam0, FINE_STEP, 7.5, spectrum)
        kernels.add_raman(x, y, lam, coefficients, spectrum, lam0, FINE_STEP, flux)
    factor = (light.flat_flux or {}).get(ifu, 1.0) / light.flux_scale
    kernels.to_counts(lam, table[0], GRID_START, table[1], factor, flux)
    if light.throughput is not None:
        quad = np.clip(
            np.searchsorted(np.asarray(light.edges), lam, side="right") - 1, 0, len(light.edges) - 2
        )
        flux *= light.throughput[quad, ifu - 1, slice_ - 1]
    if light.errors is not None:
        flux *= light.errors.throughput(ifu, slice_, lam)
    return flux


def _near(sources: Any, light: Light, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sources that reach the slice, refraction included."""
    sx, sy = light.shift[0], light.shift[1]
    w = light.wcs
    px = np.array([x.min() + sx.min(), x.max() + sx.max()]) - w[0]
    py = np.array([y.min() + sy.min(), y.max() + sy.max()]) - w[1]
    gx, gy = np.meshgrid(px, py)
    xi, eta = w[2] * gx + w[3] * gy, w[4] * gx + w[5] * gy
    reach = 8 * sources[:, 3] * 1.2
    return np.flatnonzero(
        (sources[:, 0] > xi.min() - reach)
        & (sources[:, 0] < xi.max() + reach)
        & (sources[:, 1] > eta.min() - reach)
        & (sources[:, 1] < eta.max() + reach)
    )


def _add_cube(
    cube: SceneCube, light: Light, x: np.ndarray, y: np.ndarray, lam: np.ndarray, flux: np.ndarray
) -> None:
    grid = np.array(cube.grid)
    grid[0] += light.centre[0]
    grid[2] += light.centre[1]
    kernels.add_cube(
        x, y, lam, light.shift, GRID_START, GRID_STEP, light.wcs, cube.data, grid, cube.scale, flux
    )


def refraction_shift(info: ExposureInfo, reference: float = 7000.0) -> np.ndarray:
    """Where the light really comes from: shift of xpos and ypos [pix] on the smooth grid, float64[2, n].

    Narrow-field mode has a corrector: no shift.
    """
    wave = wavelength_grid()
    if info.mode.startswith("NFM"):
        return np.zeros((2, wave.size))
    p = info.pointing
    angle = 0.5 * (p.parallactic_angle_at(0) + p.parallactic_angle_at(p.exptime))
    angle += -info.posang if info.drot_mode == "SKY" else info.posang
    dr = physics.dispersion_pixels(wave, reference, p.airmass, info.weather)
    q = np.deg2rad(angle)
    return np.stack([-np.sin(q) * dr, np.cos(q) * dr])


def write_exposure(
    outdir: Path,
    info: ExposureInfo,
    layout: Layout,
    light: Light,
    detector: Detector,
    lsf: dict[str, np.ndarray],
    *,
    seed: int,
    limits: dict[int, dict],
    flat_fluxes: dict[int, tuple[float, float]] | None,
    as_table: bool,
    flat_field: tuple[np.ndarray, np.ndarray] | None,
    threads: int,
    truth_dir: Path | None,
) -> list[Path]:
    """Write the pixel tables of one exposure, one file per IFU, in bounded memory."""
    table = sensitivity_table(light, info.pointing.exptime)
    sources = light.scene.source_table(light.seeing, *light.positions)
    paths = []
    notch = NOTCH if info.is_ao else None
    with ThreadPoolExecutor(threads) as pool:
        for ifu in layout.ifus:
            name = f"PIXTABLE_OBJECT_{info.number:04d}-{ifu:02d}.fits"
            header = primary_header(info, ifu, name, None if flat_fluxes is None else flat_fluxes[ifu])
            offsets = [layout.geometry.xoffset(ifu, s) for s in layout.slices]
            add_pixtable_group(header, ifu, layout.slices, offsets, limits[ifu])
            path = outdir / name
            hits: dict[str, np.ndarray] = {}
            with PixelTableWriter(
                path, header, layout.n_rows(ifu), as_table=as_table, flat_field=flat_field
            ) as writer:

                def one(
                    slice_: int, first: int, ifu: int = ifu, writer: Any = writer, hits: Any = hits
                ) -> None:
                    columns, hit = _slice_rows(
                        layout, light, sources, detector, table, lsf, seed, info.number, ifu, slice_
                    )
                    if notch is not None:
                        lam = columns["lambda"]
                        columns["dq"][(lam > notch[0]) & (lam < notch[1])] |= 0x08000000
                    writer.write(first, columns)
                    if truth_dir is not None:
                        hits[str(slice_)] = first + np.flatnonzero(hit)

                first, jobs = 0, []
                for slice_ in layout.slices:
                    jobs.append(pool.submit(one, slice_, first))
                    first += layout.rows(ifu, slice_).size * layout.n_columns(ifu, slice_)
                for job in jobs:
                    job.result()
            if truth_dir is not None:
                np.save(
                    truth_dir / f"cosmics_{info.number:04d}-{ifu:02d}.npy",
                    np.concatenate([hits[str(s)] for s in layout.slices]),
                )
            paths.append(path)
    return paths
