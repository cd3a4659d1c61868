# SPDX-License-Identifier: BSD-3-Clause
"""Relative illumination of the slices of one IFU, from an attached lamp flat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.errors import InputError

BAND = (6500.0, 7500.0)  # Angstrom


@dataclass(frozen=True)
class IllumModel:
    """Median of each slice in the lamp flat and the factor its sky-flat data get (float64[48])."""

    medians: npt.NDArray[np.float64]
    factors: npt.NDArray[np.float64]


def fit_illum(medians: npt.NDArray[np.float64]) -> IllumModel:
    """Factors of the slices from their medians between 6500 and 7500 Angstrom.

    The sky flat is divided by the normalised median, as C pipeline 2.8.7 does (its manual says multiplied).

    Parameters
    ----------
    medians : float64[48]
        NaN for a slice without pixels (it gets the factor 1).

    Raises
    ------
    InputError
        If a slice has no usable median.
    """
    seen = ~np.isnan(medians)
    bad = (seen & ~(medians > 0)) | (medians == np.inf)
    if bad.any() or not seen.any():
        slices = ", ".join(str(s + 1) for s in np.flatnonzero(bad | ~seen)[:5])
        raise InputError(
            "",
            f"ILLUM: no positive median between {BAND[0]:.0f} and {BAND[1]:.0f} Angstrom in "
            f"{int((bad | ~seen).sum())} slices (first ones: {slices})",
        )
    factors = np.ones(medians.size)
    inverse = 1.0 / medians[seen]
    factors[seen] = inverse / inverse.mean()
    return IllumModel(medians, factors)
