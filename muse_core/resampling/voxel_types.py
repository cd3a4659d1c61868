# SPDX-License-Identifier: BSD-3-Clause
"""What the resampling kernels look at, bundled: rows in voxel order, and the grid they go to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class VoxelRows(NamedTuple):
    """Rows in voxel order.

    Parameters
    ----------
    starts : int32[n_planes * ny * nx + 1]
        first row of each voxel of some planes
    xpos, ypos, lam, data, stat : float32[n]
        positions are relative to the reference of the grid
    dq : int32[n]
        rows with dq != 0 are left out
    weight : float32[n] or float32[0]
        exposure weights; empty = 1
    """

    starts: npt.NDArray[np.int32]
    xpos: npt.NDArray[np.float32]
    ypos: npt.NDArray[np.float32]
    lam: npt.NDArray[np.float32]
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    dq: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]


class VoxelGrid(NamedTuple):
    """Where the voxels are, and in which units distances from them are measured.

    Parameters
    ----------
    centre1, centre2, cosine : float64[ny, nx]
        world coordinates of the spaxel centres (or of the points distances are measured from), and the factor
        of the first axis
    plane_lam, plane_step : float64[nz]
        wavelength of each plane, and its width in units of 1.25 Angstrom
    reference : (float, float)
        world coordinates that the positions of rows are relative to
    scale : (float, float)
        nominal pixel in world units
    step : (float, float)
        spaxel in nominal pixels
    """

    centre1: npt.NDArray[np.float64]
    centre2: npt.NDArray[np.float64]
    cosine: npt.NDArray[np.float64]
    plane_lam: npt.NDArray[np.float64]
    plane_step: npt.NDArray[np.float64]
    reference: tuple[float, float]
    scale: tuple[float, float]
    step: tuple[float, float]
