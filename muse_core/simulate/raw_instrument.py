# SPDX-License-Identifier: BSD-3-Clause
"""Optical model behind simulated raw frames: traces, wavelengths, geometry, light."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

NSLICE = 48
STACKS, ROWS = 4, 12
FULL_PITCH = 4096 / NSLICE  # pixels of the real detector per slice
FULL_WIDTH = 75.0  # spaxels of the real field per slice
IFU_STEP = 12.1
ROW_STEP = 1.005


@dataclass(frozen=True)
class RawSetup:
    """One simulated instrument and night; everything else follows from it and the seed.

    Parameters
    ----------
    nx, ny : int
        Data section of one of the four quadrants; 2048 and 2056 is the real detector.
    ifus : tuple of int
        Channels to simulate.
    mode : str
        ``ESO INS MODE``.
    gradient : tuple of float
        Relative change of the sky illumination over half the field in x and y, and curvature in x.
    colour : float
        Change of the x gradient from 7000 to 9000 Angstrom.
    vignetting : float
        Narrow field: depth of the dark upper edge, 0 to 1. Wide field: excess in the upper right corner after
        flat-fielding, where the lamp does not fill the field (the recipe corrects only this sign).
    slice_scatter, ifu_scatter, illum_scatter : float
        Scatter of throughputs; the last one is the change between flat field and sky, seen by ILLUM.
    slice_fill : float
        Width of a slice on the detector in units of the distance of slices.
    size_scatter : float
        Scatter from IFU to IFU of the width of the slices on the detector and of the wavelength step.
    scattered : float
        Light that spreads over the whole detector, as a fraction of the mean light on it.
    cosmics : int
        Hits per frame and channel.
    saturated : float
        Fraction of raw pixels at 65535.
    """

    seed: int = 1
    nx: int = 512
    ny: int = 64
    ifus: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    mode: str = "WFM-NOAO-N"
    lambda_min: float = 4600.0
    lambda_max: float = 9400.0
    prescan: int = 32
    overscan: int = 32
    gain: tuple[float, ...] = (1.10, 1.08, 1.12, 1.09)
    ron: tuple[float, ...] = (2.8, 3.0, 2.6, 2.9)
    bias: tuple[float, ...] = (1500.0, 1400.0, 1600.0, 1450.0)
    bias_slope: float = 2.0
    gradient: tuple[float, float, float] = (0.05, 0.005, -0.02)
    colour: float = 0.01
    vignetting: float = 0.0
    slice_scatter: float = 0.05
    ifu_scatter: float = 0.04
    illum_scatter: float = 0.03
    slice_fill: float = 0.87
    size_scatter: float = 0.0
    scattered: float = 0.0
    cosmics: int = 20
    saturated: float = 0.0
    level: float = 15000.0

    def rng(self, *key: int) -> np.random.Generator:
        """Random numbers of one purpose."""
        return np.random.default_rng([self.seed, *key])

    @property
    def shape(self) -> tuple[int, int]:
        """Trimmed image."""
        return 2 * self.ny, 2 * self.nx

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Raw image."""
        scan = self.prescan + self.overscan
        return 2 * (self.ny + scan), 2 * (self.nx + scan)

    @property
    def slice_width(self) -> float:
        """Spaxels per slice: a small detector sees a small field, so that it has no gaps."""
        return FULL_WIDTH * (2 * self.nx / NSLICE) / FULL_PITCH

    @property
    def half_field(self) -> tuple[float, float]:
        """Half the extent of the field in x and y."""
        y = [self.ifu_centre(i) for i in self.ifus]
        return STACKS / 2 * self.slice_width, 0.5 * (max(y) - min(y) + IFU_STEP)

    def ifu_centre(self, ifu: int) -> float:
        """Height of an IFU in the field: IFU 1 on top, in the narrow field IFU 24 (vignetted above)."""
        return (ifu - 12.5) * IFU_STEP * self.direction

    @property
    def direction(self) -> int:
        """+1 if IFU numbers rise with y."""
        return 1 if self.mode.startswith("NFM") else -1

    def with_(self, **changes: Any) -> RawSetup:
        """Return a copy with some values changed."""
        return replace(self, **changes)


def relative_size(setup: RawSetup, ifu: int, axis: int) -> float:
    """Width of the slices on the detector (axis 0), or wavelength step (1), of an IFU; the mean is 1."""
    return 1.0 + setup.size_scatter * float(setup.rng(906, axis).standard_normal(24)[ifu - 1])


def trace_polynomials(setup: RawSetup, ifu: int) -> np.ndarray:
    """Centre, left and right edge of each slice: float64[48, 3, 6], ascending powers of the 1-based row."""
    pitch = 2 * setup.nx / NSLICE
    height = setup.shape[0]
    s = np.arange(NSLICE)
    out = np.zeros((NSLICE, 3, 6))
    half = 0.5 * setup.slice_fill * pitch * (1 + 0.005 * np.sin(s + ifu)) * relative_size(setup, ifu, 0)
    bend = 0.004 * pitch * (s - 23.5) / 24
    centre = pitch * (s + 0.5) + 0.5 + 0.01 * pitch * np.sin(s + 2.0 * ifu)
    # bend * (2 y / height - 1)^2 written out in powers of y
    for k, offset in enumerate((0.02, -half, half)):
        out[:, k, 0] = centre + offset + bend
        out[:, k, 1] = -4 * bend / height
        out[:, k, 2] = 4 * bend / height**2
    return out


def wave_polynomials(setup: RawSetup, ifu: int) -> np.ndarray:
    """Wavelength of each pixel: float64[48, 3, 7], coefficients of x^i y^j."""
    height = setup.shape[0]
    step = (setup.lambda_max - setup.lambda_min) / height * relative_size(setup, ifu, 1)
    s = np.arange(NSLICE)
    middle = trace_polynomials(setup, ifu)[:, 0, 0]
    tilt = 0.2 * step / (setup.nx / 24)
    bow = 0.05 * step / (setup.nx / 48) ** 2
    out = np.zeros((NSLICE, 3, 7))
    out[:, 0, 0] = (
        setup.lambda_min + step * (0.5 * np.sin(1.3 * s) + 0.2 * (ifu % 5)) - tilt * middle + bow * middle**2
    )
    out[:, 1, 0] = tilt - 2 * bow * middle
    out[:, 2, 0] = bow
    out[:, 0, 1] = 1.01 * step
    out[:, 0, 2] = -0.012 * step / height
    return out


def geometry_columns(setup: RawSetup, ifus: Iterable[int] = range(1, 25)) -> dict[str, np.ndarray]:
    """Columns of the geometry table; slices of four stacks, a permutation of the order on the CCD."""
    columns: dict[str, list] = {
        k: [] for k in ("SubField", "SliceCCD", "SliceSky", "x", "y", "angle", "width")
    }
    for ifu in ifus:
        for s in range(NSLICE):
            stack, row = s % STACKS, (s // STACKS) * 5 % ROWS
            columns["SubField"].append(ifu)
            columns["SliceCCD"].append(s + 1)
            columns["SliceSky"].append(stack * ROWS + row + 1)
            columns["x"].append((1.5 - stack) * setup.slice_width * 1.004 + 0.05 * np.sin(ifu + stack))
            columns["y"].append(setup.ifu_centre(ifu) + (5.5 - row) * ROW_STEP + 0.03 * np.cos(stack + row))
            columns["angle"].append(0.1 * np.sin(0.4 * ifu + stack))
            columns["width"].append(setup.slice_width * (1 + 0.002 * np.cos(row + ifu)))
    return {k: np.array(v) for k, v in columns.items()}


def slice_throughput(setup: RawSetup, ifu: int) -> np.ndarray:
    """Relative transmission of the slices, the same for flat field and sky."""
    return 1 + setup.slice_scatter * setup.rng(900, ifu).standard_normal(NSLICE)


def illum_change(setup: RawSetup, ifu: int) -> np.ndarray:
    """Change of the slices between the flat field and the night, seen by sky flats and ILLUM alike.

    Its mean inverse is 1: a change of the whole IFU counts as throughput.
    """
    change = 1 + setup.illum_scatter * setup.rng(904, ifu).standard_normal(NSLICE)
    return change * np.mean(1 / change)


def ifu_throughput(setup: RawSetup) -> dict[int, float]:
    """Relative transmission of the IFUs."""
    values = 1 + setup.ifu_scatter * setup.rng(901).standard_normal(24)
    return {ifu: float(values[ifu - 1]) for ifu in range(1, 25)}


def sky_illumination(setup: RawSetup, x: np.ndarray, y: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Truth: relative illumination of the field by the twilight sky.

    Parameters
    ----------
    x, y : array
        Position in the field (pixels of the geometry table).
    lam : array
        Wavelength in Angstrom.
    """
    half_x, half_y = setup.half_field
    middle = 0.5 * (setup.ifu_centre(min(setup.ifus)) + setup.ifu_centre(max(setup.ifus)))
    u, v = np.asarray(x) / half_x, (np.asarray(y) - middle) / half_y
    gx, gy, curve = setup.gradient
    light = 1 + gx * u + gy * v + curve * u**2 + setup.colour * (np.asarray(lam) - 7000) / 2000 * u
    if setup.vignetting:
        if setup.mode.startswith("NFM"):
            distance = (v - 1) * half_y / 10.0
            sign = -1.0
        else:
            distance = np.hypot((u - 1) * half_x, (v - 1) * half_y) / (0.16 * min(half_x, half_y) + 4.0)
            sign = 1.0
        light = light * (1 + sign * setup.vignetting * np.exp(-(distance**2)))
    return light


def solar_spectrum(lam: np.ndarray) -> np.ndarray:
    """Smooth twilight continuum with absorption bands, arbitrary scale."""
    lam = np.asarray(lam)
    out = np.exp(-0.5 * ((lam - 6300) / 2200) ** 2) * (1 + 0.04 * np.sin(lam / 41.0))
    for centre, depth, width in (
        (5890.0, 0.3, 12.0),
        (6563.0, 0.4, 10.0),
        (7605.0, 0.5, 25.0),
        (8542.0, 0.3, 12.0),
    ):
        out = out * (1 - depth * np.exp(-0.5 * ((lam - centre) / width) ** 2))
    return out


def lamp_spectrum(lam: np.ndarray) -> np.ndarray:
    """Smooth lamp continuum, arbitrary scale."""
    return np.exp(-0.5 * ((np.asarray(lam) - 7200) / 2600) ** 2)


def light_on_detector(setup: RawSetup, ifu: int) -> tuple[np.ndarray, np.ndarray]:
    """Relative light of sky and lamp on the trimmed detector of one IFU, without pixel response.

    Returns
    -------
    sky, lamp : float32[ny, nx]
        The lamp as it was for the flat field; sky with the changed slices of the night (see `illum_change`).
    """
    height, width = setup.shape
    sky, lamp = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    y = np.arange(1, height + 1, dtype=float)
    trace, wave = trace_polynomials(setup, ifu), wave_polynomials(setup, ifu)
    columns = geometry_columns(setup, (ifu,))
    change = illum_change(setup, ifu)
    through = slice_throughput(setup, ifu) * ifu_throughput(setup)[ifu]
    for s in range(NSLICE):
        edges = [np.polynomial.polynomial.polyval(y, trace[s, k]) for k in (1, 2)]
        x1, x2 = max(int(edges[0].min()) - 3, 1), min(int(edges[1].max()) + 4, width)
        x = np.arange(x1, x2 + 1, dtype=float)[None, :]
        left, right = edges[0][:, None], edges[1][:, None]
        powers = [np.polynomial.polynomial.polyval(y, wave[s, i])[:, None] for i in range(3)]
        lam = powers[0] + x * (powers[1] + x * powers[2])
        u = (x - 0.5 * (left + right)) / (right - left) * columns["width"][s]
        angle = np.deg2rad(columns["angle"][s])
        fx, fy = columns["x"][s] - u * np.cos(angle), columns["y"][s] - u * np.sin(angle)
        profile = 0.5 * (np.tanh((x - left) / 0.6) - np.tanh((x - right) / 0.6)) * through[s]
        part = (slice(None), slice(x1 - 1, x2))
        lamp[part] += profile * lamp_spectrum(lam)
        sky[part] += profile * solar_spectrum(lam) * sky_illumination(setup, fx, fy, lam) * change[s]
    for light in (sky, lamp):
        light += np.float32(setup.scattered * light.mean())
    return sky, lamp


def lamp_with_change(setup: RawSetup, ifu: int, lamp: np.ndarray) -> np.ndarray:
    """Lamp light of the ILLUM exposure: the slices as they are at night."""
    pitch = 2 * setup.nx / NSLICE
    index = np.clip((np.arange(setup.shape[1]) / pitch).astype(int), 0, NSLICE - 1)
    return lamp * illum_change(setup, ifu)[index].astype(np.float32)
