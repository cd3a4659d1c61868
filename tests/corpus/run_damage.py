# SPDX-License-Identifier: BSD-3-Clause
"""Damage to a run whose files are sound: parameters at their extremes, sets of frames that are odd."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.corpus.target import pick

if TYPE_CHECKING:
    from muse_core.framework import RecipeSpec
    from muse_core.framework.spec import Param

Frames = list[tuple[Path, str]]
PARAMETERS, SET = "(parameters)", "(set of frames)"
RUNS = (PARAMETERS, SET)
"""In place of a tag: nothing is wrong with any file."""
FLOATS = (0.0, -1.0, 1.0, 1e-300, 1e300, -1e300, math.inf, -math.inf, math.nan, 1e6, 0.5, 1e-6, 3e38, 100.0)
WHOLES = (0, -1, 1, 2, 3, 7, 100, 10**6, 2**31 - 1, -(2**31), 2**63, 10**30, 1.5)
TEXTS = (
    "", " ", "none", "nonsense", ",", ",,,", "1", "1,2", "nan", "1e400", "-1,-1,-1", "x" * 5000, "1;2", "\0",
    "../../etc/passwd", "*", "0,0", "1e300,1e300", "all", "[1,2]", "5577.339,6300.304",
)  # fmt: skip


@dataclass(frozen=True)
class OddRun:
    """What is given in place of sound parameters and frames, in words, and what a message should name."""

    settings: Mapping[str, object]
    frames: Frames
    told: str
    named: tuple[str, ...]


def odd_run(
    kind: str,
    seed: int,
    label: str,
    number: int,
    spec: RecipeSpec,
    settings: Mapping[str, object],
    frames: Frames,
    home: Path,
) -> OddRun:
    """Return the odd run `number` of a kind; the same seed, label and number give the same."""
    rng = np.random.default_rng([seed, number, *label.encode()])
    if kind == PARAMETERS:
        return _odd_parameters(rng, number, spec, settings, frames)
    return _odd_frames(rng, spec, settings, frames, home)


def _odd_parameters(
    rng: np.random.Generator, number: int, spec: RecipeSpec, settings: Mapping[str, object], frames: Frames
) -> OddRun:
    """One parameter after the other at an extreme, every third time with another one."""
    params = [param for param in spec.params if param.name != "compat"]
    chosen = [params[number % len(params)]]
    if number % 3 == 2:
        chosen.append(pick(rng, params))
    odd = {param.name: _extreme(rng, param) for param in chosen}
    told = ", ".join(f"{name}={str(value)[:40]!r}" for name, value in odd.items())
    return OddRun({**settings, **odd}, frames, told, tuple(odd))


def _extreme(rng: np.random.Generator, param: Param) -> object:
    default = param.default
    if isinstance(default, bool):
        return pick(rng, (not default, not default, "maybe", 2))
    if isinstance(default, str):
        return pick(rng, (*(param.choices or ()), *(param.choices or ()), *TEXTS))
    limits = [value for value in (param.low, param.high, param.above) if value is not None]
    if isinstance(default, int):
        near = [int(value) + step for value in limits if math.isfinite(value) for step in (-1, 0, 1)]
        return pick(rng, (*near, *near, *WHOLES))
    near = [value * factor for value in limits for factor in (1.0, 1.0 + 1e-9, 1.0 - 1e-9)]
    return pick(rng, (*near, *near, *FLOATS, default * 1e3, default * 1e-3, -default))


def _odd_frames(
    rng: np.random.Generator,
    spec: RecipeSpec,
    settings: Mapping[str, object],
    frames: Frames,
    home: Path,
) -> OddRun:
    """Frames that are missing, given twice, or tagged as something else."""
    odd = list(frames)
    kind = int(rng.integers(8))
    at = int(rng.integers(len(odd)))
    path, tag = odd[at]
    if kind == 0:
        del odd[at]
        told = f"without {path.name} ({tag})"
    elif kind == 1:
        odd.append(odd[at])
        told = f"{path.name} ({tag}) twice"
    elif kind == 2:
        copy = home / f"again-{path.name}"
        shutil.copy(path, copy)
        odd.append((copy, tag))
        told = f"a copy of {path.name} ({tag})"
    elif kind == 3:
        other = int(rng.integers(len(odd)))
        odd[at], odd[other] = (path, odd[other][1]), (odd[other][0], tag)
        told = f"tags of {path.name} and {odd[other][0].name} exchanged"
    elif kind == 4:
        others = [declared.tag for declared in spec.inputs]
        wrong = str(pick(rng, (tag.lower(), f"{tag}X", "", "NONSENSE", tag[:-1], *others)))
        odd[at] = (path, wrong)
        told = f"{path.name} tagged {wrong!r} in place of {tag}"
    elif kind == 5:
        odd = [frame for frame in odd if frame[1] != tag]
        told = f"without {tag}"
    elif kind == 6:
        odd = [odd[n] for n in rng.permutation(len(odd))]
        told = "in another order"
    else:
        wrong = str(pick(rng, [i.tag for i in spec.inputs]))
        odd.append((path, wrong))
        told = f"{path.name} also as {wrong}"
    changed = [name for frame in {*odd} ^ {*frames} for name in (frame[0].name, frame[1]) if name]
    return OddRun(settings, odd, told, (tag, path.name, *changed))
