# SPDX-License-Identifier: BSD-3-Clause
"""What is kept of each IFU when its products are written, for the log and the quality page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.detector.calibrate import ExposureModel
from muse_core.masters.bias import QuadrantBias

Preview = npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class BiasFigures:
    """Master bias of one IFU; ``preview`` is a small picture of it."""

    ifu: int
    models: tuple[ExposureModel, ...]
    quadrants: dict[int, QuadrantBias]
    bad: int
    preview: Preview
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line for the log."""
        noises = " ".join(f"{own.noise.noise:.2f}" for own in self.quadrants.values())
        return f"read-out noise {noises} count, {self.bad} pixels in bad columns"
