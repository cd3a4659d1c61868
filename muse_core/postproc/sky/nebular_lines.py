# SPDX-License-Identifier: BSD-3-Clause
"""Emission lines of ionised gas in what is taken for the spectrum of the sky.

A nebula that is the same everywhere looks like sky in every image. But its lines are not those of the night
sky: [O III], the Balmer lines, [N II] and [S II] stand where the airglow has nothing, and they are strong:
gas whose continuum is a hundredth of that of the sky has lines of several Angstrom over it.
The sky itself has H-alpha, [N II] and [S II], too, from the upper atmosphere and the gas of the Milky Way,
some Angstrom at most away from its plane; the limits are above them.

Wavelengths in air: NIST Atomic Spectra Database; OH 6-1 band: Osterbrock et al. (1996, PASP 108, 277).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

NEBULAR = {
    "H-beta": 4861.33, "[O III] 4959": 4958.91, "[O III] 5007": 5006.84, "[N II] 6548": 6548.05,
    "H-alpha": 6562.79, "[N II] 6583": 6583.45, "[S II] 6716": 6716.44, "[S II] 6731": 6730.82,
}  # fmt: skip
AIRGLOW = (
    5197.9, 5200.3, 5577.34, 5889.95, 5895.92, 6300.30, 6363.78, 6465.7, 6471.0, 6477.9, 6498.73, 6504.99,
    6512.2, 6522.43, 6533.04, 6544.02, 6553.62, 6568.78, 6577.25, 6596.64, 6604.20, 6627.7, 6634.2, 6661.9,
    6667.8, 6828.5, 6834.0, 6841.9, 6863.96, 6871.0, 6889.3, 6900.8,
)  # fmt: skip
"""Sky lines near the nebular ones, up to the velocities that are searched."""
LIGHT_SPEED = 299792.458  # km/s
VELOCITIES = np.arange(-500.0, 6000.0, 25.0)
"""Of gas, seen from the telescope [km/s]."""
NEARBY = 500.0
"""Velocities up to which a single line is believed [km/s]; beyond, two must agree."""
WIDTH = 1.15
"""Standard deviation of a line [Angstrom]."""
REACH = 3.2
"""Distance from a sky line within which a spectrum is not looked at [Angstrom]."""
CONTINUUM = 80.0
"""Length of the spectrum whose median is the continuum [Angstrom]."""
SEEN = 0.6
"""Part of a line that must lie beside the sky lines."""
SIGNIFICANT, SUPPORTING = 6.0, 3.5
"""In units of the scatter of what is found where there is no line."""
FAINTEST = 0.3
"""Equivalent width of a line that is told [Angstrom]."""
FEWEST_BINS = 60


@dataclass(frozen=True)
class NebularLines:
    """Lines that were found.

    Parameters
    ----------
    width : equivalent width of each line over the sky continuum [Angstrom]; empty: no nebula is seen
    velocity : of the gas [km/s]
    """

    width: dict[str, float]
    velocity: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the equivalent widths [Angstrom]."""
        return float(sum(self.width.values()))

    def __str__(self) -> str:
        """Say which lines there are."""
        return ", ".join(f"{name} ({width:.1f} A)" for name, width in self.width.items())


NOTHING = NebularLines({})


def find_nebular_lines(lam: Vector, flux: Vector) -> NebularLines:
    """Look for the lines of gas in a spectrum of the sky.

    Parameters
    ----------
    lam, flux : float64[n]   increasing wavelengths [Angstrom, air]; mean flux density

    Examples
    --------
    >>> lam = np.arange(4900.0, 5100.0, 0.3125)
    >>> flux = 40.0 + np.random.default_rng(1).normal(0.0, 0.3, lam.size)
    >>> str(find_nebular_lines(lam, flux))
    ''
    >>> for line, amount in ((4958.91, 10.0), (5006.84, 30.0)):
    ...     flux += amount * np.exp(-0.5 * ((lam - line - 1.0) / 1.1) ** 2)
    >>> str(find_nebular_lines(lam, flux))
    '[O III] 4959 (0.7 A), [O III] 5007 (2.1 A)'
    """
    spectrum = _LineSearch.of(lam, flux)
    if spectrum is None:
        return NOTHING
    found = [_at_velocity(spectrum, float(velocity)) for velocity in VELOCITIES]
    return max(found, key=lambda lines: lines.total)


@dataclass(frozen=True)
class _LineSearch:
    """Equivalent widths of lines at any wavelength, and their scatter where there are none.

    Parameters
    ----------
    lam : float64[n]; width : float64[n]   NaN where sky lines hide a line
    scatter : float64[n]   of widths near a wavelength
    """

    lam: Vector
    width: Vector
    scatter: Vector

    @classmethod
    def of(cls, lam: Vector, flux: Vector) -> _LineSearch | None:
        """Measure a spectrum; None if it is too short, or has no continuum."""
        good = np.isfinite(flux)
        near = np.zeros(lam.size, np.bool_)  # only the parts that can hold nebular lines
        for rest in NEBULAR.values():
            ends = rest * (1.0 + VELOCITIES[[0, -1]] / LIGHT_SPEED)
            near |= (lam > ends[0] - CONTINUUM) & (lam < ends[1] + CONTINUUM)
        lam, flux = lam[good & near], flux[good & near]
        free = np.all([np.abs(lam - line) > REACH for line in AIRGLOW], axis=0)
        if np.count_nonzero(free) < FEWEST_BINS:
            return None
        step = float(np.median(np.diff(lam)))
        index = np.rint((lam - lam[0]) / step).astype(np.int64)
        grid = lam[0] + step * np.arange(index[-1] + 1)
        continuum = _in_pieces(grid, lam[free], flux[free], np.median)
        with np.errstate(invalid="ignore", divide="ignore"):
            excess = np.where(continuum[index] > 0.0, flux / continuum[index] - 1.0, np.nan)
        used = np.zeros(grid.size)
        used[index[free & np.isfinite(excess)]] = 1.0
        rest_of = np.zeros(grid.size)
        rest_of[index] = np.where(used[index] > 0.0, excess, 0.0)
        n = round(4.0 * WIDTH / step)
        shape = np.exp(-0.5 * (step * np.arange(-n, n + 1) / WIDTH) ** 2)
        weight = np.convolve(used, shape**2, "full")[n:-n]
        height = np.convolve(rest_of, shape, "full")[n:-n]
        seen = weight >= SEEN * float((shape**2).sum())
        width = np.full(grid.size, np.nan)
        width[seen] = height[seen] / weight[seen] * WIDTH * np.sqrt(2.0 * np.pi)
        if np.count_nonzero(seen) < FEWEST_BINS:
            return None
        return cls(grid, width, _in_pieces(grid, grid[seen], width[seen], _scatter))

    def at(self, wavelength: float) -> tuple[float, float]:
        """Return the equivalent width of a line and its significance; NaN where it cannot be measured."""
        k = round((wavelength - self.lam[0]) / (self.lam[1] - self.lam[0]))
        if not (0 <= k < self.lam.size and self.scatter[k] > 0.0):
            return float("nan"), float("nan")
        return float(self.width[k]), float(self.width[k] / self.scatter[k])


def _scatter(values: Vector) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _in_pieces(grid: Vector, lam: Vector, values: Vector, measure: Callable[[Vector], float]) -> Vector:
    """Return a statistic of the values around each place of a grid; NaN where there are few.

    It is computed every eighth of `CONTINUUM` and linear in between.
    """
    nodes = np.arange(grid[0], grid[-1] + CONTINUUM / 8.0, CONTINUUM / 8.0)
    first, last = (np.searchsorted(lam, nodes + side * CONTINUUM / 2.0) for side in (-1, 1))
    parts = [values[a:b] for a, b in zip(first, last, strict=True)]
    found = [measure(part) if part.size >= FEWEST_BINS // 2 else np.nan for part in parts]
    return np.interp(grid, nodes, found)


def _at_velocity(spectrum: _LineSearch, velocity: float) -> NebularLines:
    """Return the lines at one velocity, if they are those of a nebula."""
    seen = {name: spectrum.at(rest * (1.0 + velocity / LIGHT_SPEED)) for name, rest in NEBULAR.items()}
    width = {name: pair[0] for name, pair in seen.items()}
    strength = {name: pair[1] for name, pair in seen.items()}

    def pair(strong: str, weak: str, ratios: tuple[float, float]) -> bool:
        """Tell whether two lines are there in a possible ratio."""
        return (
            strength[strong] > SIGNIFICANT
            and strength[weak] > SUPPORTING
            and ratios[0] < width[weak] / width[strong] < ratios[1]
        )

    nearby = abs(velocity) <= NEARBY
    oxygen = width["[O III] 5007"] > 1.0 and (
        pair("[O III] 5007", "[O III] 4959", (0.2, 0.5))
        or (nearby and np.isnan(width["[O III] 4959"]) and strength["[O III] 5007"] > SIGNIFICANT)
    )
    hydrogen = nearby and (
        (width["H-beta"] > 3.0 and strength["H-beta"] > SIGNIFICANT)
        or (width["H-alpha"] > 20.0 and strength["H-alpha"] > SIGNIFICANT)
    )
    nitrogen = width["H-alpha"] + width["[N II] 6583"] > 8.0 and (
        pair("H-alpha", "[N II] 6583", (0.05, 1.0)) or pair("[N II] 6583", "H-alpha", (0.3, 1.0))
    )
    sulphur = nearby and width["[S II] 6716"] > 2.0 and pair("[S II] 6716", "[S II] 6731", (0.6, 2.5))
    if not (oxygen or hydrogen or nitrogen or sulphur):
        return NOTHING
    told = {name: w for name, w in width.items() if strength[name] > SUPPORTING and w > FAINTEST}
    return NebularLines(told, velocity)
