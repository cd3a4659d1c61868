# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic-ray hits by Laplacian edges: L.A.Cosmic (van Dokkum 2001, PASP 113, 1420), by astroscrappy."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.detector.dcr import DQ_COSMIC
from muse_core.framework.errors import ParameterError

ITERATIONS = 4
PACKAGE = "astroscrappy"


def check_installed() -> None:
    """Raise `ParameterError` if astroscrappy is not installed."""
    try:
        importlib.import_module(PACKAGE)
    except ImportError:
        raise ParameterError(f"lacosmic=true needs the package {PACKAGE}: pip install {PACKAGE}") from None


@dataclass(frozen=True)
class LaplacePlan:
    """Limit of a hit in deviations, of its neighbours as a part of that, and contrast to real structure."""

    sigma: float = 10.0
    fraction: float = 0.3
    contrast: float = 50.0


def flag_laplacian(
    data: npt.NDArray[np.float32],
    stat: npt.NDArray[np.float32],
    dq: npt.NDArray[np.int32],
    outside: npt.NDArray[np.bool_],
    plan: LaplacePlan,
) -> int:
    """Flag hits (DQ 0x20) that are sharper than the instrument allows; returns their number.

    Parameters
    ----------
    data, stat : float32[ny, nx]
        Counts divided by the flat field, and their variances.
    dq : int32[ny, nx]
        Flags, updated in place; flagged pixels take no part.
    outside : bool[ny, nx]
        Pixels between the slices, which take no part either.
    plan : LaplacePlan
    """
    from astroscrappy import detect_cosmics

    bad = (dq != 0) | outside
    mask, _ = detect_cosmics(
        data,
        inmask=bad,
        invar=np.maximum(stat, np.float32(1e-3)),
        sigclip=plan.sigma,
        sigfrac=plan.fraction,
        objlim=plan.contrast,
        gain=1.0,
        readnoise=0.0,
        satlevel=np.inf,
        niter=ITERATIONS,
        cleantype="medmask",
    )
    hits = mask & ~bad
    dq[hits] |= DQ_COSMIC
    return int(hits.sum())
