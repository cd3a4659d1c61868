# SPDX-License-Identifier: BSD-3-Clause
"""What is to be made of the rows of a cube, and a finished piece of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from muse_core.framework.defects import Defects
from muse_core.resampling.exposure_rejection import ExposureRejection
from muse_core.resampling.grid import OutputGrid
from muse_core.resampling.stored_sums import StoredSums
from muse_core.resampling.weights import Resampling


@dataclass(frozen=True)
class CosmicRejection:
    """Settings of the cosmic-ray rejection (see `muse_core.resampling.cosmics`)."""

    method: str
    sigma: float
    rule: int


@dataclass(frozen=True)
class ByExposure:
    """Settings of a cube that is made exposure by exposure (see `muse_core.resampling.exposure_sums`).

    Parameters
    ----------
    rejection : ExposureRejection or None
        leave values out that the other exposures do not confirm
    keep_sums : bool
        hand out the sums
    stored : StoredSums or None
        of exposures combined before
    stack_bytes : int
        room for the sums of all exposures in each thread; one plane of them is kept at least
    """

    rejection: ExposureRejection | None = None
    keep_sums: bool = False
    stored: StoredSums | None = None
    stack_bytes: int = 1 << 28


@dataclass(frozen=True)
class CubePlan:
    """All that a slab needs to know.

    Parameters
    ----------
    grid : OutputGrid
    reference : (float, float)
        coordinates to which the stored row positions are relative
    resampling : Resampling
    cosmics : CosmicRejection or None
    defects : Defects
        of the C recipe: rows of any wavelength outside the grid belong to the first or last plane
        (`border_planes_take_all`; otherwise only those near enough to matter), `nearest` takes the positions
        of the rows relative to the reference for full coordinates (`nearest_by_absolute_position`), spaxels
        are found with its rounding (`arc_sine_rounding`), and rows that came as cosmic rays take part in the
        statistics (`flagged_rows_in_rejection`)
    report_flags : bool
        hand out which rows were flagged as cosmic rays
    by_exposure : ByExposure or None
        count and judge exposures
    """

    grid: OutputGrid
    reference: tuple[float, float]
    resampling: Resampling
    cosmics: CosmicRejection | None = None
    defects: Defects = field(default_factory=Defects)
    report_flags: bool = False
    by_exposure: ByExposure | None = None

    @property
    def reach(self) -> int:
        """Planes on each side of a plane whose rows can matter to it."""
        distance = 0 if self.resampling.method == "nearest" else max(self.resampling.ld, 1)
        return distance + (1 if self.cosmics else 0)

    @property
    def least_height(self) -> int:
        """Planes of a slab at least: each stage of the work looks at the nearest slab only."""
        return 1 if self.resampling.method == "nearest" else max(self.resampling.ld, 1)


@dataclass
class Slab:
    """Finished planes first .. first + n - 1.

    Parameters
    ----------
    data, stat : float32[n, ny, nx]
    flagged : list of int64 arrays
        per contribution, the numbers of the rows flagged as cosmic rays in these planes
    cosmics : int
        number of flagged rows
    hits : int32[cosmics] or None
        their voxels, numbered within the slab
    exposures : int16[n, ny, nx] or None
        exposures in each voxel
    sums : float64[n, ny, nx, 3] or None
        sum of w d, of w, of w^2 s
    disagreeing : int
        values of exposures that were left out
    with_flagged : float32[n, ny, nx] or None
        the data with the flagged values that the C recipe looks at, too (`nearest_flagged_in_qc`)
    stored : bool
        the planes are in the file already (of a run that goes on after it was killed)
    """

    first: int
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    flagged: list[npt.NDArray[np.int64]] = field(default_factory=list)
    cosmics: int = 0
    hits: npt.NDArray[np.int32] | None = None
    exposures: npt.NDArray[np.int16] | None = None
    sums: npt.NDArray[np.float64] | None = None
    disagreeing: int = 0
    with_flagged: npt.NDArray[np.float32] | None = None
    stored: bool = False
