# SPDX-License-Identifier: BSD-3-Clause
"""The corrections of muse_scipost, in the order of its documentation.

A line of the table names the module of a correction, which is imported only in runs that ask for it: half of
a small run is imports. The module has two functions::

    load(frames, p, ctx)                        reads its calibrations (may be absent)
    correct(exposure, calibrations, p, ctx)     fits it; returns what is to be applied to the rows (a
                                                `Correction`), why it is not made (`Skipped`), or None
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from muse_core.data.header_values import uses_laser_guide_stars
from muse_core.framework.errors import naming
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.kept import ExposureState

if TYPE_CHECKING:
    from types import ModuleType

    from muse_core.data.pixtable import PixelTableFile
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


@dataclass(frozen=True)
class Inputs:
    """What decides which corrections a run asks for: parameters, calibration frames, pixel tables."""

    p: ParamValues
    frames: CalibrationFrames
    tables: Sequence[tuple[Frame, PixelTableFile]]


@dataclass(frozen=True)
class Stage:
    """One line of the table.

    Parameters
    ----------
    title : as the documentation calls it
    module : where it is
    asked : tells whether a run asks for it
    absent : QC flag of the products if it does not
    function, loader : those of the module that correct and read
    """

    title: str
    module: str
    asked: Callable[[Inputs], bool] = lambda _: True
    function: str = "correct"
    loader: str = "load"
    absent: tuple[str, bool | str, str] | None = None


CORRECTIONS = (
    Stage(
        "flat-field spectrum",
        "muse_core.postproc.flatfield.step",
        lambda run: any(table.flat_field is not None for _, table in run.tables),
    ),
    Stage("atmospheric refraction", "muse_core.postproc.refraction.step"),
    Stage(
        "residual refraction",
        "muse_core.postproc.refraction.check_step",
        lambda run: run.p.darcheck != "none",
    ),
    Stage("flux calibration", "muse_core.postproc.flux.step"),
    Stage(
        "Raman light",
        "muse_core.postproc.raman.step",
        lambda run: (
            bool(run.frames["RAMAN_LINES"])
            or any(uses_laser_guide_stars(table.header) for _, table in run.tables)
        ),
    ),
    Stage(
        "autocalibration",
        "muse_core.postproc.autocalibration.step",
        lambda run: run.p.autocalib != "none" or bool(run.frames["AUTOCAL_FACTORS"]),
    ),
    Stage(
        "sky subtraction",
        "muse_core.postproc.sky.step",
        lambda run: run.p.skymethod != "none" or run.p.autocalib == "deepfield",
        absent=("SKY METHOD", "none", "sky subtraction that was made"),
    ),
    Stage(
        "cosmic rays of the autocalibration",
        "muse_core.postproc.autocalibration.step",
        lambda run: run.p.autocalib == "deepfield",
        function="flag",
    ),
    Stage("radial velocity", "muse_core.postproc.velocity.step"),
    Stage("astrometry", "muse_core.postproc.astrometry.step"),
)
"""What is done to each exposure before its reduced table is saved."""

POSITION = (Stage("position on the sky", "muse_core.postproc.astrometry.step", function="place"),)
"""What is done after that."""

_GIVEN = "muse_core.postproc.sky.given_step"
GIVEN_SKY = Stage("sky model", _GIVEN, function="correct_model", loader="load_model")
GIVEN_SPECTRUM = Stage("sky spectrum", _GIVEN, function="correct_spectrum", loader="load_spectrum")
"""A sky that was found elsewhere, for recipes of this step alone."""


def stages(*titles: str) -> tuple[Stage, ...]:
    """Return lines of the table by their titles.

    >>> [stage.module for stage in stages("radial velocity")]
    ['muse_core.postproc.velocity.step']
    """
    found = {stage.title: stage for stage in (*CORRECTIONS, *POSITION)}
    return tuple(found[title] for title in titles)


@dataclass(frozen=True)
class ReadyStage:
    """A stage with its module and its calibrations."""

    stage: Stage
    module: ModuleType
    calibrations: Any

    def correct(self, exposure: Reduction, p: ParamValues, ctx: RunContext) -> None:
        """Fit the correction of one exposure and add it to its chain, or say why it is not made."""
        result = getattr(self.module, self.stage.function)(exposure, self.calibrations, p, ctx)
        if isinstance(result, Skipped):
            exposure.skip(result, ctx.log)
        elif result is not None:
            exposure.add(result)


def prepare(stages: Iterable[Stage], run: Inputs, ctx: RunContext) -> list[ReadyStage]:
    """Import the corrections that a run asks for and load their calibrations.

    What is wrong with the calibrations is noted in ``ctx.problems``.
    """
    ready = []
    for stage in stages:
        if stage.asked(run):
            module = import_module(stage.module)
            load = getattr(module, stage.loader, None)
            ready.append(ReadyStage(stage, module, load(run.frames, run.p, ctx) if load else None))
        elif stage.absent:
            ctx.flag(*stage.absent)
    return ready


def correct(exposure: Reduction, corrections: Sequence[ReadyStage], p: ParamValues, ctx: RunContext) -> None:
    """Make corrections of one exposure, one after the other.

    Those that a killed run has made are taken from it; what takes long is kept for a run that goes on.
    """
    name = f"exposure {exposure.number}: {', '.join(ready.stage.title for ready in corrections)}"
    files = [frame.path for frame in exposure.product.frames]
    state: ExposureState | None = ctx.kept.load(name)
    if state is not None:
        state.restore(exposure, ctx)
    done, said = (state.done, state.messages) if state is not None else (0, [])
    with ctx.kept.heard(ctx.log) as messages:
        for number, correction in enumerate(corrections[done:], done + 1):
            with ctx.clock.step(correction.stage.title), naming(files):
                correction.correct(exposure, p, ctx)
            if ctx.kept.is_worth():
                ctx.kept.save(name, ExposureState.of(exposure, number, [*said, *messages], ctx))
