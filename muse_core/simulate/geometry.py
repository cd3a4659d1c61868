# SPDX-License-Identifier: BSD-3-Clause
"""The instrument: where every slice lies on its CCD, on the sky and in wavelength.

The layout is that of MUSE (24 IFUs, 4 stacks of 12 slices each, the slice order of the slicer, about 75 pixel
wide slices on a pitch of 84 CCD pixels, neighbouring slices displaced in wavelength). The small
irregularities are drawn from a fixed seed: there is one simulated instrument, not one per simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

N_IFU = 24
N_SLICE = 48
CCD_ROWS = 4112

# order of the slices on the sky for CCD slices 1..12 of one stack (VLT-TRE-MUSE-14670-0657); it repeats
# for the other three stacks
_STACK_ORDER = (9, 8, 1, 10, 7, 2, 11, 6, 3, 12, 5, 4)
SKY_OF_CCD = tuple(12 * stack + k for stack in range(4) for k in _STACK_ORDER)
CCD_OF_SKY = tuple(SKY_OF_CCD.index(k) + 1 for k in range(1, 49))

SLICE_PITCH = 1.03  # pixels between the slices of a stack
STACK_WIDTH = 75.2  # pixels between the stacks
DISPERSION = 1.25  # Angstrom per CCD row
_INSTRUMENT_SEED = 20140131  # first light


@dataclass(frozen=True)
class Geometry:
    """Slice parameters, every array indexed [ifu - 1, slice - 1] (slice in CCD order).

    Attributes
    ----------
    x, y : centre of the slice in the field [pix]
    slope : tilt of the slice in the field [pix per pix]
    width : length of the slice in the field [pix]
    left : left edge on the CCD, polynomial in (row - 2056)/2056, last axis 3 coefficients [pix]
    ccd_width : width of the slice on the CCD [pix]
    wave : wavelength of the slice centre, polynomial in (row - 2056)/2056, last axis 3 coefficients
        [Angstrom]
    smile : change of wavelength along the slice: linear and quadratic term in -1..1, last axis 2 [Angstrom]
    """

    x: np.ndarray
    y: np.ndarray
    slope: np.ndarray
    width: np.ndarray
    left: np.ndarray
    ccd_width: np.ndarray
    wave: np.ndarray
    smile: np.ndarray

    def row_wavelengths(self, ifu: int, slice_: int) -> np.ndarray:
        """Wavelength of the slice centre for all CCD rows 1..4112."""
        t = (np.arange(1, CCD_ROWS + 1) - 2056.0) / 2056.0
        c = self.wave[ifu - 1, slice_ - 1]
        return c[0] + t * (c[1] + t * c[2])

    def xoffset(self, ifu: int, slice_: int) -> int:
        """Header value XOFFSET: left edge at the lowest row, minus 20."""
        c = self.left[ifu - 1, slice_ - 1]
        t = (1.0 - 2056.0) / 2056.0
        return int(np.floor(c[0] + t * (c[1] + t * c[2]))) - 20

    def parameters(self, ifu: int, slice_: int) -> np.ndarray:
        """All numbers of one slice in one float64 array, as the kernels take them."""
        i, j = ifu - 1, slice_ - 1
        return np.concatenate(
            [
                [self.x[i, j], self.y[i, j], self.slope[i, j], self.width[i, j]],
                self.left[i, j],
                [self.ccd_width[i, j]],
                self.wave[i, j],
                self.smile[i, j],
            ]
        )


@lru_cache(maxsize=1)
def instrument_geometry() -> Geometry:
    """Return the one simulated instrument.

    Examples
    --------
    >>> g = instrument_geometry()
    >>> g.x.shape
    (24, 48)
    >>> bool(70 < g.ccd_width.min() < g.ccd_width.max() < 80)
    True
    """
    rng = np.random.default_rng(_INSTRUMENT_SEED)
    shape = (N_IFU, N_SLICE)
    ifu, ccd = np.meshgrid(np.arange(1, N_IFU + 1), np.arange(1, N_SLICE + 1), indexing="ij")
    sky = np.array(SKY_OF_CCD)[ccd - 1]
    stack = (sky - 1) // 12
    inner = (sky - 1) % 12
    # stacks are not exactly level, and every slice has its own small displacement
    stack_step = rng.normal(0, 0.15, (N_IFU, 4))[ifu - 1, stack]
    y = (
        (ifu - 12.5) * 12 * SLICE_PITCH
        + (inner - 5.5) * SLICE_PITCH
        + stack_step
        + rng.normal(0, 0.03, shape)
    )
    x = (1.5 - stack) * STACK_WIDTH + rng.normal(0, 0.25, shape) + rng.normal(0, 0.2, (N_IFU, 1))
    slope = np.tan(np.deg2rad(rng.normal(0, 0.06, shape)))
    width = STACK_WIDTH + 0.3 + rng.normal(0, 0.15, shape)
    left = np.empty((*shape, 3))
    left[..., 0] = 34.0 + (ccd - 1) * 83.9 + rng.normal(0, 0.8, shape)
    left[..., 1] = (ccd - 24.5) / 24.0 * 1.5 + rng.normal(0, 0.2, shape)
    left[..., 2] = (ccd - 24.5) / 24.0 * 2.5 + rng.normal(0, 0.2, shape)
    ccd_width = 75.8 + rng.normal(0, 0.35, shape)
    wave = np.empty((*shape, 3))
    # three groups of slices displaced against each other on the detector, and an offset of each IFU
    wave[..., 0] = (
        7030.0 + 22.0 * ((ccd - 1) % 3 - 1) + rng.normal(0, 2.0, shape) + rng.normal(0, 6.0, (N_IFU, 1))
    )
    wave[..., 1] = 2056 * DISPERSION * (1 + rng.normal(0, 2e-4, shape))
    wave[..., 2] = 9.0 + rng.normal(0, 0.3, shape)
    smile = np.stack([rng.normal(0, 0.35, shape), 0.45 + rng.normal(0, 0.05, shape)], axis=-1)
    return Geometry(x, y, slope, width, left, ccd_width, wave, smile)


def sky_contiguous_slices(n: int) -> tuple[int, ...]:
    """CCD numbers of the first n slices in sky order, ascending: neighbours on the sky for any n."""
    return tuple(sorted(CCD_OF_SKY[:n]))
