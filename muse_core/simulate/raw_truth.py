# SPDX-License-Identifier: BSD-3-Clause
"""Compare a twilight cube with the illumination that a simulated set was made with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muse_core.framework.fits_file import open_fits
from muse_core.simulate.raw_instrument import IFU_STEP, RawSetup, ifu_throughput, sky_illumination

EDGE = 4  # spaxels next to the border of the field that are told apart
VIGNETTED = 0.003  # relative change of light from which a spaxel counts as vignetted


@dataclass(frozen=True)
class TruthCheck:
    """Relative rms of recovered over true illumination: field, its edge, vignetted part (NaN if none)."""

    field: float
    edge: float
    vignetted: float
    ratio: np.ndarray


def check_truth(twilight_cube: Path | str, setup: RawSetup) -> TruthCheck:
    """Compare twilight cube times flux per IFU with the true illumination times throughput per IFU.

    Scaling all IFUs to one flux moves part of the illumination into the keywords ``FLAT FLUX SKYn``; science
    data are corrected with both, so both are compared together. Each plane is compared relative to its mean,
    as the cube is normalised.

    Parameters
    ----------
    twilight_cube : path-like
        Product of the recipe.
    setup : RawSetup
    """
    with open_fits(Path(twilight_cube)) as hdus:
        header, primary = hdus["DATA"].header, hdus[0].header
        cube = hdus["DATA"].data.astype(float)
        bad = hdus["white_div_global_DQ"].data != 0
    x = header["CRVAL1"] + np.arange(cube.shape[2])
    y = header["CRVAL2"] + np.arange(cube.shape[1])
    lam = header["CRVAL3"] + header["CD3_3"] * np.arange(cube.shape[0])
    ifu = np.rint(12.5 + setup.direction * y / IFU_STEP).astype(int)
    fluxes = np.array([primary.get(f"ESO DRS MUSE FLAT FLUX SKY{i}", np.nan) for i in ifu])
    factor = ifu_throughput(setup)
    through = np.array([factor.get(int(i), np.nan) for i in ifu])
    # the last plane is centred beyond the data when the range is no multiple of the step
    lam_used = np.clip(lam, None, 9000.0)
    true = sky_illumination(setup, x[None, None], y[None, :, None], lam_used[:, None, None])
    open_field = sky_illumination(
        setup.with_(vignetting=0.0), x[None, None], y[None, :, None], lam_used[:, None, None]
    )
    ratio = cube * fluxes[None, :, None] / (true * through[None, :, None])
    changed = np.abs(true / open_field - 1)[0] > VIGNETTED
    good = ~bad & np.isfinite(fluxes)[:, None]
    half_x, half_y = setup.half_field
    middle = 0.5 * (setup.ifu_centre(min(setup.ifus)) + setup.ifu_centre(max(setup.ifus)))
    inner = (np.abs(x)[None, :] < half_x - EDGE) & (np.abs(y - middle)[:, None] < half_y - EDGE)
    core = good & inner & ~changed
    ratio /= ratio[:, core].mean(axis=1)[:, None, None]

    def rms(region: np.ndarray) -> float:
        return float(np.sqrt(np.mean((ratio[:, region] - 1) ** 2))) if region.any() else float("nan")

    return TruthCheck(rms(core), rms(good & ~inner & ~changed), rms(good & changed), ratio)
