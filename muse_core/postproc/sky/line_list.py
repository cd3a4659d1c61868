# SPDX-License-Identifier: BSD-3-Clause
"""Lists of sky lines: files, OH transitions, choice of the lines of a spectrum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.framework import InputError
from muse_core.framework.fits_file import number_column, open_fits

if TYPE_CHECKING:
    from astropy.io import fits

BOLTZMANN = 1.3806504e-23  # J/K
OH_TEMPERATURE = 200.0  # K
OH_FLUX_SCALE = (
    7.94492e10  # measured against 2.8.7: flux of an OH transition = scale * A / lambda * population
)
RANGE_MARGIN = 5.0  # Angstrom beyond the first and last bin of the spectrum, or into a gap
MOST_GROUPS = 2**31 - 1
LINE_COLUMNS = ("name", "group", "lambda", "flux")
OH_COLUMNS = ("name", "lambda", "v_u", "E_u", "J_u", "A")


_ANGSTROM = ("", "angstrom", "a", "angstroms")


@dataclass(frozen=True)
class SkyLines:
    """Sky lines in groups whose fluxes keep their ratio.

    Parameters
    ----------
    name : text[n]
    group : int32[n]
    lam, flux : float64[n]   air wavelength (Angstrom) and flux (data unit times Angstrom, per spaxel)
    dq : int32[n]   not used: flagged lines are fitted and subtracted as well (measured against 2.8.7)
    """

    name: tuple[str, ...]
    group: npt.NDArray[np.int32]
    lam: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    dq: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.name)

    def take(self, index: npt.ArrayLike) -> SkyLines:
        """Return the lines with these indices, in this order."""
        index = np.asarray(index, dtype=np.int64)
        return SkyLines(
            tuple(self.name[i] for i in index), self.group[index], self.lam[index], self.flux[index],
            self.dq[index],
        )  # fmt: skip

    def sorted_by_flux(self) -> SkyLines:
        """Return the lines by decreasing flux, as they are saved."""
        return self.take(np.argsort(-self.flux, kind="stable"))

    def in_range(self, lam_first: float, lam_last: float) -> SkyLines:
        """Return the lines near a spectrum, with the groups numbered 0.. in the order of their appearance."""
        return self._numbered((self.lam >= lam_first - RANGE_MARGIN) & (self.lam <= lam_last + RANGE_MARGIN))

    def beside_bins(self, lam: npt.NDArray[np.float64]) -> SkyLines:
        """Return the lines that bins of a spectrum see, with groups numbered as by `in_range`.

        A line in a gap (the notch of the lasers) is not seen: a fit would give it any flux.

        Parameters
        ----------
        lam : float64[n]
            centres of the bins, ascending [Angstrom]
        """
        after = np.clip(np.searchsorted(lam, self.lam), 1, lam.size - 1)
        distance = np.minimum(np.abs(lam[after] - self.lam), np.abs(lam[after - 1] - self.lam))
        return self._numbered(distance <= RANGE_MARGIN)

    def _numbered(self, near: npt.NDArray[np.bool_]) -> SkyLines:
        chosen = self.take(np.flatnonzero(near))
        order = {g: i for i, g in enumerate(dict.fromkeys(chosen.group.tolist()))}
        return replace(chosen, group=np.array([order[g] for g in chosen.group.tolist()], dtype=np.int32))


def oh_fluxes(
    lam: npt.NDArray, v_upper: npt.NDArray, energy: npt.NDArray, momentum: npt.NDArray, rate: npt.NDArray
) -> npt.NDArray[np.float64]:
    """Return the start fluxes of OH transitions: rate over wavelength, times the share of their upper level.

    The rotational levels of one vibrational level are filled like a gas of 200 K.

    Parameters
    ----------
    lam : float64[n]   Angstrom
    v_upper : int[n]   upper vibrational level
    energy, momentum : float64[n]   energy (J) and angular momentum of the upper level
    rate : float64[n]   transition probability
    """
    weight = (2.0 * momentum + 1.0) * np.exp(-energy / (BOLTZMANN * OH_TEMPERATURE))
    flux = np.zeros(lam.size)
    for level in np.unique(v_upper):
        same = v_upper == level
        flux[same] = OH_FLUX_SCALE * rate[same] / lam[same] * weight[same] / weight[same].sum()
    return flux


def load_sky_lines(path: str | Path) -> SkyLines:
    """Read SKY_LINES: the extension LINES, OH_TRANSITIONS, or both."""
    path = Path(path)
    remedy = (
        "Give a SKY_LINES file, e.g. the one of the MUSE calibration set or a product of muse_create_sky."
    )
    parts: list[SkyLines] = []
    with open_fits(path, item="SKY_LINES", expected="a FITS table") as hdus:
        names = [hdu.name for hdu in hdus]
        if "LINES" in names:
            parts.append(_read_lines(path, hdus["LINES"]))
        if "OH_TRANSITIONS" in names:
            last_group = int(parts[0].group.max(initial=-1)) if parts else -1
            parts.append(_read_transitions(path, hdus["OH_TRANSITIONS"], last_group + 1))
    if not parts:
        raise InputError(
            path, "SKY_LINES", expected="an extension LINES or OH_TRANSITIONS",
            found=", ".join(n for n in names if n) or "no named extension", remedy=remedy,
        )  # fmt: skip
    lines = _joined(parts)
    if len(lines) == 0:
        raise InputError(
            path, "SKY_LINES", expected="at least one line", found="an empty table", remedy=remedy
        )
    return lines


def _joined(parts: list[SkyLines]) -> SkyLines:
    return SkyLines(
        tuple(name for part in parts for name in part.name),
        *(np.concatenate([getattr(part, key) for part in parts]) for key in ("group", "lam", "flux", "dq")),
    )


def _columns(path: Path, hdu: fits.BinTableHDU, wanted: tuple[str, ...]) -> dict[str, npt.NDArray]:
    if getattr(hdu, "columns", None) is None:
        raise InputError(
            path, f"extension {hdu.name}", expected="a binary table", found=type(hdu).__name__,
            remedy="Give a table as muse_create_sky makes it.",
        )  # fmt: skip
    present = {name.lower(): name for name in hdu.columns.names}
    missing = [name for name in wanted if name.lower() not in present]
    if missing:
        raise InputError(
            path, f"{hdu.name}: columns {', '.join(missing)}", expected=", ".join(wanted),
            found=", ".join(hdu.columns.names), remedy="Repair the table or give another one.",
        )  # fmt: skip
    unit = str(hdu.columns[present["lambda"]].unit or "").strip()
    if unit.lower() not in _ANGSTROM:
        raise InputError(
            path, f"{hdu.name}: unit of column lambda", expected="Angstrom", found=repr(unit),
            remedy="Convert the table to wavelengths in Angstrom.",
        )  # fmt: skip
    return {
        name: np.asarray(hdu.data[present[name]])
        if name == "name"
        else number_column(path, hdu, present[name.lower()], item=f"{hdu.name}:")
        for name in wanted
    }


def _checked(
    path: Path, extension: str, column: str, values: npt.NDArray, low: float
) -> npt.NDArray[np.float64]:
    """Return the values as float64; refuse those that are not finite or not above ``low``."""
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    bad = ~(np.isfinite(values) & (values >= low))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            path, f"{extension}: column {column}",
            expected=f"finite numbers >= {low:g}" if low > -1e300 else "finite numbers",
            found=f"{values[row]} in row {row + 1} ({int(bad.sum())} bad rows)",
            remedy="Remove or repair these lines.",
        )  # fmt: skip
    return values


def _texts(values: npt.NDArray) -> tuple[str, ...]:
    return tuple(str(value).rstrip() for value in values)


def _read_lines(path: Path, hdu: fits.BinTableHDU) -> SkyLines:
    table = _columns(path, hdu, LINE_COLUMNS)
    n = len(table["lambda"])
    has_dq = "dq" in [name.lower() for name in hdu.columns.names]
    dq = number_column(path, hdu, "dq", item="LINES:") if has_dq else np.zeros(n)
    dq = np.clip(np.nan_to_num(dq), 0, MOST_GROUPS)
    group = table["group"]
    wrong = np.flatnonzero(~((group >= 0) & (group < MOST_GROUPS)))
    if wrong.size:
        raise InputError(
            path, "LINES: column group", expected="numbers >= 0" if group[wrong[0]] < 0 else "32-bit numbers",
            found=f"{group[wrong[0]]:g} in row {wrong[0] + 1}",
            remedy="Give every line the number of its family.",
        )  # fmt: skip
    return SkyLines(
        _texts(table["name"]), group.astype(np.int32),
        _checked(path, "LINES", "lambda", table["lambda"], 0.0),
        _checked(path, "LINES", "flux", table["flux"], 0.0), dq.astype(np.int32),
    )  # fmt: skip


def _read_transitions(path: Path, hdu: fits.BinTableHDU, first_group: int) -> SkyLines:
    table = _columns(path, hdu, OH_COLUMNS)
    numbers = {
        key: _checked(path, "OH_TRANSITIONS", key, table[key], 0.0) for key in ("lambda", "E_u", "J_u", "A")
    }
    v_upper = _checked(path, "OH_TRANSITIONS", "v_u", table["v_u"], 0.0).astype(np.int64)
    flux = oh_fluxes(numbers["lambda"], v_upper, numbers["E_u"], numbers["J_u"], numbers["A"])
    order = {level: i for i, level in enumerate(dict.fromkeys(v_upper.tolist()))}
    group = np.array([first_group + order[level] for level in v_upper.tolist()], dtype=np.int32)
    return SkyLines(
        _texts(table["name"]), group, numbers["lambda"], flux, np.zeros(group.size, dtype=np.int32)
    )


def load_sky_continuum(path: str | Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Read SKY_CONTINUUM: wavelength and flux.

    Returns None if the file has no extension CONTINUUM; the C pipeline then warns ("Could not load sky
    continuum") and goes on without subtracting a continuum.
    """
    path = Path(path)
    with open_fits(path, item="SKY_CONTINUUM", expected="a FITS table") as hdus:
        if "CONTINUUM" not in [hdu.name for hdu in hdus]:
            return None
        table = _columns(path, hdus["CONTINUUM"], ("lambda", "flux"))
    lam = _checked(path, "CONTINUUM", "lambda", table["lambda"], 0.0)
    flux = _checked(path, "CONTINUUM", "flux", table["flux"], -np.inf)
    if lam.size < 2 or (np.diff(lam) <= 0).any():
        raise InputError(
            path, "CONTINUUM: column lambda", expected="at least two increasing wavelengths",
            found=f"{lam.size} rows", remedy="Sort the table by wavelength.",
        )  # fmt: skip
    return lam, flux
