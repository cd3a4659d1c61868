# SPDX-License-Identifier: BSD-3-Clause
"""The data are multiplied by a constant factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from muse_core.data.calibration import read_columns
from muse_core.framework import Frame, InputError
from muse_core.postproc.exposure.correction import Card, Skipped

if TYPE_CHECKING:
    from muse_core.data.block import Block
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


@dataclass(frozen=True)
class ConstantFactor:
    """What was fitted: small, frozen, and applied to blocks of rows in place."""

    name: ClassVar[str] = "factor"
    moves: ClassVar[bool] = False  # neither positions nor wavelengths
    stretch: ClassVar[float] = 1.0

    factor: float

    def apply(self, block: Block) -> None:
        """Multiply the data by the factor, the variance by its square."""
        block.data *= np.float32(self.factor)
        block.stat *= np.float32(self.factor**2)

    def cards(self) -> list[Card]:
        """Header cards of the correction."""
        return [("ESO DRS MUSE PIXTABLE FACTOR", self.factor, "Factor applied to the data")]


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> float | None:
    """Read CONSTANT_FACTOR; a fault in it is reported together with those of all other inputs."""
    return frames.read("CONSTANT_FACTOR", _factor)


def _factor(frame: Frame) -> float:
    (column,) = read_columns(frame, ("factor",), sorted_by=None)
    if column is None or column.size != 1 or not column[0] > 0:
        raise InputError(
            frame.path, "column factor", expected="one positive number", found=column,
            remedy="Make the table again.",
        )  # fmt: skip
    return float(column[0])


def correct(
    exposure: Reduction, factor: float | None, p: ParamValues, ctx: RunContext
) -> ConstantFactor | Skipped:
    """Return what is to be applied to this exposure, or why nothing is."""
    if factor is None or exposure.product.data_unit != "count":
        return Skipped("factor", f"data in {exposure.product.data_unit}", wanted=True)
    return ConstantFactor(factor)
