# SPDX-License-Identifier: BSD-3-Clause
"""Emission lines of the night sky: the list the simulator shines and the groups in which it varies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# forbidden oxygen, sodium, and the 0-1 band head of O2; wavelength in air [A], flux [1e-20 erg/s/cm2 per 0.2"
# spaxel], typical of a dark night at Paranal (Hanuschik 2003, Noll et al. 2012)
_ATOMIC = (
    ("O I 5577.34", 1, 5577.339, 9000.0),
    ("Na I 5889.95", 2, 5889.951, 900.0),
    ("Na I 5895.92", 2, 5895.924, 480.0),
    ("O I 6300.30", 3, 6300.304, 6500.0),
    ("O I 6363.78", 3, 6363.776, 2080.0),
)

# OH bands: v', v'', wavelength of the line Q1(1) in air [A], strength relative to the brightest. The first
# nine were fitted to published line positions (Osterbrock et al. 1996); the others are good to about 1 A.
_OH_BANDS = (
    (8, 3, 7276.29, 0.55), (6, 2, 8344.48, 1.00), (9, 4, 7750.75, 0.60), (5, 1, 7913.90, 0.70),
    (7, 2, 6863.87, 0.28),
    (6, 1, 6498.85, 0.14), (8, 2, 5888.25, 0.06), (7, 3, 8827.04, 1.05), (9, 3, 6258.21, 0.10),
    (8, 1, 4904.2, 0.004), (9, 2, 5203.4, 0.012), (6, 0, 5275.3, 0.006), (7, 1, 5564.2, 0.035),
    (5, 0, 6170.6, 0.04),
    (4, 0, 7524.0, 0.32), (8, 4, 9376.0, 0.95),
)  # fmt: skip
# effective rotational constants [1/cm], B = b0 - b1 (v + 1/2) + b2 (v + 1/2)^2, D, and the spin-orbit
# coupling; fitted to 36 published lines: rms 0.21/cm, largest 0.53/cm (0.13 and 0.3 A at 7500 A)
_OH_CONSTANTS = (18.75404, 0.653166, -0.0030636, -0.00091102)
_OH_COUPLING = -139.2


@dataclass(frozen=True)
class LineList:
    """Sky lines: name, group (lines that vary together), wavelength in air [A], flux."""

    name: tuple[str, ...]
    group: np.ndarray
    wavelength: np.ndarray
    flux: np.ndarray

    def within(self, low: float, high: float) -> LineList:
        """Lines in a wavelength range."""
        keep = np.flatnonzero((self.wavelength >= low) & (self.wavelength <= high))
        return LineList(
            tuple(self.name[i] for i in keep), self.group[keep], self.wavelength[keep], self.flux[keep]
        )

    def scaled(self, factors: dict[int, float]) -> LineList:
        """Each group multiplied by its factor (1 if it has none)."""
        scale = np.array([factors.get(int(g), 1.0) for g in self.group])
        return LineList(self.name, self.group, self.wavelength, self.flux * scale)


def _terms(v: int, n_max: int) -> np.ndarray:
    """Rotational terms F[i, N] (i = 0: 2Pi3/2, 1: 2Pi1/2) of OH in cm^-1, Hill and Van Vleck (1928)."""
    b0, b1, b2, d = _OH_CONSTANTS
    b = b0 - b1 * (v + 0.5) + b2 * (v + 0.5) ** 2
    y = _OH_COUPLING / b
    n = np.arange(1, n_max + 1)
    terms = np.zeros((2, n_max + 1))
    j = n + 0.5
    terms[0, 1:] = (
        b * ((j + 0.5) ** 2 - 1 - 0.5 * np.sqrt(4 * (j + 0.5) ** 2 + y * (y - 4))) - d * (j * (j + 1)) ** 2
    )
    j = n - 0.5
    terms[1, 1:] = (
        b * ((j + 0.5) ** 2 - 1 + 0.5 * np.sqrt(4 * (j + 0.5) ** 2 + y * (y - 4))) - d * (j * (j + 1)) ** 2
    )
    return terms


def sky_line_list(temperature: float = 200.0, oh_strength: float = 3500.0) -> LineList:
    """Return oxygen, sodium and the OH bands between 4800 and 9400 A, one group per upper level of OH.

    The OH lines come from the rotational structure of the molecule (fine structure, no lambda doubling):
    their pattern is that of the real sky, single wavelengths are off by some tenths of an Angstrom.
    """
    names, groups, waves, fluxes = [], [], [], []
    for name, group, wave, flux in _ATOMIC:
        names.append(name)
        groups.append(group)
        waves.append(wave)
        fluxes.append(flux)
    for upper, lower, origin, strength in _OH_BANDS:
        up, low = _terms(upper, 12), _terms(lower, 12)
        for ladder in (0, 1):
            for n in range(1, 7):
                energy = (up[ladder, n] - up[0, 1]) * 1.4388 / temperature
                for branch, step, weight in (("P", 1, 1.0), ("Q", 0, 0.9 / n), ("R", -1, 0.55)):
                    m = n + step
                    if m < 1:
                        continue
                    shift = up[ladder, n] - low[ladder, m] - (up[0, 1] - low[0, 1])
                    wave = 1e8 / (1e8 / origin + shift)
                    flux = oh_strength * strength * weight * (2 * n + 1) / 3 * np.exp(-energy) * 0.8
                    if flux < 0.5:
                        continue
                    names.append(f"OH {upper}-{lower} {branch}{ladder + 1}({n})")
                    groups.append(10 + upper)
                    waves.append(wave)
                    fluxes.append(flux)
    order = np.argsort(waves)
    return LineList(
        tuple(names[i] for i in order),
        np.array(groups)[order],
        np.array(waves)[order],
        np.array(fluxes)[order],
    )


def oh_transitions(lines: LineList, temperature: float = 200.0) -> tuple[LineList, dict[str, np.ndarray]]:
    """Split a list into its other lines and the table of OH transitions that gives the same fluxes.

    The flux of a transition follows from its probability A and the population of the upper level; here A is
    chosen the other way round. See the columns of extension OH_TRANSITIONS in the MUSE pipeline.
    """
    boltzmann, planck_c = 1.3806504e-23, 1.98644568e-23  # J/K, J cm
    is_oh = np.array([n.startswith("OH ") for n in lines.name], bool)
    rows: dict[str, list] = {k: [] for k in ("name", "lambda", "v_u", "v_l", "nu", "E_u", "J_u", "flux")}
    for k in np.flatnonzero(is_oh):
        _, band, branch = lines.name[k].split()
        upper, lower = (int(v) for v in band.split("-"))
        ladder, n = int(branch[1]) - 1, int(branch[3:-1])
        terms = _terms(upper, 12)
        energy = (terms[ladder, n] - terms[0, 1]) * planck_c
        values = (
            lines.name[k],
            lines.wavelength[k],
            upper,
            lower,
            upper - lower,
            energy,
            n + 0.5 - ladder,
            lines.flux[k],
        )
        for key, value in zip(rows, values, strict=True):
            rows[key].append(value)
    table = {k: np.array(v) for k, v in rows.items()}
    flux = table.pop("flux")
    population = (2 * table["J_u"] + 1) * np.exp(-table["E_u"] / (boltzmann * temperature))
    share = np.zeros(population.size)
    for v in np.unique(table["v_u"]):
        share[table["v_u"] == v] = population[table["v_u"] == v].sum()
    table["A"] = flux * table["lambda"] / 7.94492e10 * share / population
    keep = np.flatnonzero(~is_oh)
    others = LineList(
        tuple(lines.name[i] for i in keep), lines.group[keep], lines.wavelength[keep], lines.flux[keep]
    )
    return others, table
