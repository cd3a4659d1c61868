# SPDX-License-Identifier: BSD-3-Clause
"""What is kept of each IFU when its products are written, for the log and the quality page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.detector.calibrate import ExposureModel
from muse_core.masters.bias import QuadrantBias
from muse_core.masters.flat_pixels import FlatPixels
from muse_core.masters.trace_fit import Trace

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


@dataclass(frozen=True)
class FlatFigures:
    """Master flat of one IFU (see `muse_core.masters.flat.FlatResult`)."""

    ifu: int
    statistics: dict[str, float]
    levels: dict[int, tuple[float, float]]
    trace: Trace | None
    pixels: FlatPixels | None
    shape: tuple[int, int]
    preview: Preview
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line for the log."""
        text = f"{self.statistics['MEAN']:.0f} count in the mean"
        if self.trace is not None:
            error = np.sqrt(np.mean([own.square[0] for own in self.trace.slices if own is not None]))
            text += f", traces to {error:.4f} pixels"
        if self.pixels is not None:
            found = self.pixels
            text += f", {found.dark} dark pixels ({found.low} of them of low response), {found.bright} bright"
            text += f", {found.not_positive} without light"
        return text


@dataclass(frozen=True)
class DarkFigures:
    """Master dark of one IFU (see `muse_core.masters.dark.DarkResult`)."""

    ifu: int
    statistics: dict[str, float]
    current: float
    error: float
    bad: int
    exptime: float
    preview: Preview
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line for the log."""
        return f"dark current {self.current:.3f} +/- {self.error:.3f} count per hour, {self.bad} hot pixels"
