# SPDX-License-Identifier: BSD-3-Clause
"""What falls on the detectors of one IFU in each exposure of a simulated night."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from muse_core.simulate import raw_detector as detector
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.arcs import arc_light
from muse_core.simulate.night_scenes import PHYSICAL, physical_light
from muse_core.simulate.night_schedule import NightFrame, NightSetup, pointing_of
from muse_core.simulate.physics import Weather, dispersion_pixels
from muse_core.simulate.raw_instrument import RawSetup

Image = npt.NDArray[np.float32]
LAMP_LEVEL, ILLUM_LEVEL, ARC_LEVEL, SKY_LEVEL, STAR_LEVEL = 25000.0, 18000.0, 60000.0, 250.0, 12000.0
# lines of the lamps [Angstrom, relative strength], a few strong ones (NIST, air wavelengths)
LINES = {
    "Ne": ((5852.49, 1.0), (6143.06, 0.8), (6402.25, 1.2), (7032.41, 0.9), (8377.61, 0.5)),
    "Xe": ((4734.15, 0.3), (8231.63, 0.9), (8280.12, 0.7), (8819.41, 0.8), (9045.45, 0.4)),
    "HgCd": ((4799.91, 0.6), (5085.82, 0.9), (5460.75, 1.1), (5790.66, 0.5), (6438.47, 1.0)),
}
AIRGLOW = ((5577.34, 1.0), (5889.95, 0.3), (6300.30, 0.6), (6863.96, 0.3), (8399.17, 0.4), (8885.85, 0.5))
# stars of the science field: x, y [pixel from its middle], relative flux
STARS = (
    (-24.0, -5.0, 0.6), (-9.0, 4.0, 1.0), (5.0, -3.0, 0.8),
    (17.0, 6.0, 0.5), (28.0, -6.0, 0.9), (-16.0, 8.0, 0.4),
)  # fmt: skip
LEAST_HEIGHT = 1000  # rows of a quadrant from which arcs have the real lines, at about the real sampling
SEEING = 1.8  # sigma of a star [pixel]


@lru_cache(maxsize=4)
def _maps(setup: RawSetup, ifu: int) -> tuple[Image, Image, Image, Image]:
    """Wavelength [Angstrom], place in the field (x, y) [pixel] and transmission of each detector pixel."""
    height, width = setup.shape
    lam, fx, fy, through = (np.zeros((height, width), np.float32) for _ in range(4))
    y = np.arange(1, height + 1, dtype=float)
    trace, wave = instrument.trace_polynomials(setup, ifu), instrument.wave_polynomials(setup, ifu)
    columns = instrument.geometry_columns(setup, (ifu,))
    transmission = instrument.slice_throughput(setup, ifu) * instrument.ifu_throughput(setup)[ifu]
    change = instrument.illum_change(setup, ifu)
    pitch = 2 * setup.nx / instrument.NSLICE
    for s in range(instrument.NSLICE):
        left, right = (np.polynomial.polynomial.polyval(y, trace[s, k])[:, None] for k in (1, 2))
        first, last = int(s * pitch), int((s + 1) * pitch)
        x = np.arange(first + 1, last + 1, dtype=float)[None, :]
        part = (slice(None), slice(first, last))
        powers = [np.polynomial.polynomial.polyval(y, wave[s, i])[:, None] for i in range(3)]
        lam[part] = powers[0] + x * (powers[1] + x * powers[2])
        u = (x - 0.5 * (left + right)) / (right - left) * columns["width"][s]
        angle = np.deg2rad(columns["angle"][s])
        fx[part], fy[part] = columns["x"][s] - u * np.cos(angle), columns["y"][s] - u * np.sin(angle)
        profile = 0.5 * (np.tanh((x - left) / 0.6) - np.tanh((x - right) / 0.6))
        through[part] = profile * transmission[s] * change[s]
    return lam, fx, fy, through


def _lines(lam: Image, lines: tuple[tuple[float, float], ...], setup: RawSetup) -> Image:
    """Emission lines on wavelengths; at least as wide as the rows of the detector."""
    step = (setup.lambda_max - setup.lambda_min) / setup.shape[0]
    sigma = np.hypot(1.1, 0.6 * step)
    total = np.zeros_like(lam)
    for centre, strength in lines:
        total += np.float32(strength) * np.exp(-0.5 * ((lam - centre) / sigma) ** 2)
    return total


def signal(night: NightSetup, frame: NightFrame, ifu: int) -> Image:
    """Return the noise-free signal [count] on the trimmed detector of an IFU."""
    setup = night.raw
    dark = detector.dark_image(setup, ifu) * np.float32(frame.exptime / 1800.0)
    if night.scenes and frame.tag in PHYSICAL:
        return physical_light(night, frame, ifu) * detector.pixel_response(setup, ifu) + dark
    maker = _LIGHT.get(frame.tag)
    if maker is None:
        return dark
    return maker(night, frame, ifu) * detector.pixel_response(setup, ifu) + dark


def _lamp(night: NightSetup, _: NightFrame, ifu: int) -> Image:
    return _cached_light(night.raw, ifu)[1] * np.float32(LAMP_LEVEL)


def _illum(night: NightSetup, _: NightFrame, ifu: int) -> Image:
    lamp = _cached_light(night.raw, ifu)[1]
    return instrument.lamp_with_change(night.raw, ifu, lamp) * np.float32(ILLUM_LEVEL)


def _skyflat(night: NightSetup, frame: NightFrame, ifu: int) -> Image:
    return _cached_light(night.raw, ifu)[0] * np.float32(night.raw.level * (1 + 0.15 * frame.place))


def _arc(night: NightSetup, frame: NightFrame, ifu: int) -> Image:
    if night.raw.ny >= LEAST_HEIGHT:
        return arc_light(night.raw, ifu, frame.lamp)
    lam, _, _, through = _maps(night.raw, ifu)
    return through * _lines(lam, LINES[frame.lamp], night.raw) * np.float32(ARC_LEVEL)


def _star(night: NightSetup, frame: NightFrame, ifu: int) -> Image:
    """Return one bright star on the middle of the field, and a little sky."""
    lam, fx, fy, through = _maps(night.raw, ifu)
    _, middle = field_middle(night.raw)
    fx, fy = _refracted(lam, fx, fy, frame)
    star = np.exp(-0.5 * (fx**2 + (fy - middle) ** 2) / SEEING**2) * np.float32(3 * STAR_LEVEL)
    return through * (star * _star_spectrum(lam) + 0.1 * _sky(night, lam, frame))


def _field(night: NightSetup, frame: NightFrame, ifu: int) -> Image:
    """Return the stars of the field, shifted by the pointing, on the night sky."""
    lam, fx, fy, through = _maps(night.raw, ifu)
    half, middle = field_middle(night.raw)
    light = _sky(night, lam, frame)
    if frame.tag in ("OBJECT", "ASTROMETRY"):
        fx, fy = _refracted(lam, fx, fy, frame)
        for x, y, flux in STARS:
            dx = fx - np.float32(x * half / 37.5 - frame.pointing[0])
            dy = fy - np.float32(middle + y - frame.pointing[1])
            light += np.float32(flux * STAR_LEVEL) * np.exp(-0.5 * (dx**2 + dy**2) / SEEING**2)
    return through * light


def _refracted(lam: Image, fx: Image, fy: Image, frame: NightFrame) -> tuple[Image, Image]:
    """Return places in the field as an atmosphere without differential refraction would show them [pixel].

    The rotator follows the sky, north is up, as in the headers.
    """
    if frame.mode.startswith("NFM"):  # has a corrector
        return fx, fy
    where = pointing_of(frame)
    angle = 0.5 * (where.parallactic_angle_at(0) + where.parallactic_angle_at(frame.exptime))
    shift = dispersion_pixels(lam, 7000.0, where.airmass, Weather()).astype(np.float32)
    q = np.deg2rad(angle)
    return fx - np.float32(np.sin(q)) * shift, fy + np.float32(np.cos(q)) * shift


def _sky(night: NightSetup, lam: Image, frame: NightFrame) -> Image:
    level = np.float32(SKY_LEVEL * frame.exptime / 600.0)
    return level * (1 + 8 * _lines(lam, AIRGLOW, night.raw))


def _star_spectrum(lam: Image) -> Image:
    """Return the continuum of a hot star times the transmission of the instrument, relative."""
    return np.asarray((lam / 6000.0) ** -2 * np.exp(-0.5 * ((lam - 7000.0) / 2500.0) ** 2), np.float32)


def field_middle(setup: RawSetup) -> tuple[float, float]:
    """Half the width of the field and the height of its middle [pixel]."""
    heights = [setup.ifu_centre(ifu) for ifu in setup.ifus]
    return setup.half_field[0], 0.5 * (min(heights) + max(heights))


@lru_cache(maxsize=2)
def _cached_light(setup: RawSetup, ifu: int) -> tuple[Image, Image]:
    return instrument.light_on_detector(setup, ifu)


_LIGHT: dict[str, Callable[[NightSetup, NightFrame, int], Image]] = {
    "FLAT": _lamp,
    "AMPL": _lamp,
    "ILLUM": _illum,
    "SKYFLAT": _skyflat,
    "ARC": _arc,
    "STD": _star,
    "ASTROMETRY": _field,
    "OBJECT": _field,
    "SKY": _field,
    "ACQ": _field,
}
