# SPDX-License-Identifier: BSD-3-Clause
"""The true flux of a standard star, from STD_FLUX_TABLE in the format of MUSE or of CALSPEC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.input_rules import STD_FLUX
from muse_core.data.rules import check
from muse_core.framework import InputError
from muse_core.framework.unit_spelling import same_unit
from muse_core.stars.reference import ReferenceTable, float_column

if TYPE_CHECKING:
    from muse_core.data.curves import Floats
    from muse_core.framework import RunContext

TAG = "STD_FLUX_TABLE"
UNITS = ("erg/s/cm**2/Angstrom", "erg/s/cm^2/Angstrom")
CALSPEC = ("WAVELENGTH", "FLUX", "STATERROR", "SYSERROR")


def air_wavelength(vacuum: Floats) -> Floats:
    """Wavelength in air [Angstrom] of one in vacuum, as CALSPEC tables are converted by 2.8.7."""
    square = np.asarray(vacuum, np.float64) ** 2
    return vacuum / (1.0 + 2.735182e-4 + 131.4182 / square + 2.76249e8 / square**2)


def reference_flux(table: ReferenceTable, ctx: RunContext) -> tuple[Floats, Floats, Floats]:
    """Return wavelength in air [Angstrom], flux and error [erg/s/cm^2/Angstrom] of a star.

    Raises
    ------
    InputError
        if the table has none of the known formats
    """
    if _is_calspec(table):
        lam = air_wavelength(float_column(table, "WAVELENGTH", TAG))
        flux = float_column(table, "FLUX", TAG)
        error = np.hypot(float_column(table, "STATERROR", TAG), float_column(table, "SYSERROR", TAG))
        ctx.log.info("Found CALSPEC format of STD_FLUX_TABLE")
    else:
        lam, flux = float_column(table, "lambda", TAG), float_column(table, "flux", TAG)
        unit = _unit(table, "flux")
        if not any(same_unit(unit, known) for known in UNITS):
            raise InputError(
                table.file, f"{TAG}, extension {table.name}, unit of flux", expected=UNITS[0],
                found=unit or "none", remedy="Unknown format found! Convert the fluxes.",
            )  # fmt: skip
        error = np.zeros(lam.size)
        if any(name.lower() == "fluxerr" for name in table.columns):
            if any(same_unit(_unit(table, "fluxerr"), known) for known in UNITS):
                error = float_column(table, "fluxerr", TAG)
            else:
                ctx.log.warning("errors of STD_FLUX_TABLE ignored: unit %r", _unit(table, "fluxerr"))
    order = np.argsort(lam, kind="stable")
    columns = {"lambda": lam[order], "flux": flux[order], "fluxerr": error[order]}
    check(f"{table.file} ({table.name})", STD_FLUX, columns, ctx)
    ctx.problems.raise_if_any()
    return columns["lambda"], columns["flux"], columns["fluxerr"]


def _unit(table: ReferenceTable, name: str) -> str:
    return next((unit for key, unit in table.units.items() if key.lower() == name), "")


def _is_calspec(table: ReferenceTable) -> bool:
    return all(name in table.columns for name in CALSPEC) and table.units["WAVELENGTH"].upper() == "ANGSTROMS"
