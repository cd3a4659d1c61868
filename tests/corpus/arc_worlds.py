# SPDX-License-Identifier: BSD-3-Clause
"""Small sound inputs of the recipes for arcs: narrow slices on a detector of full height."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from muse_core.simulate.arcs import arc_setup, simulate_arcs
from tests.corpus.worlds import World


def wavecal(folder: Path) -> World:
    """muse_wavecal with every calibration, one exposure of each lamp."""
    sof = simulate_arcs(folder / "arcs", arc_setup(nx=100, ifus=(2,), cosmics=2), exposures=1)
    lines = (line.split() for line in sof.read_text().splitlines())
    frames = [(sof.parent / name, tag) for name, tag in lines]
    further = {"badpix": "BADPIX_TABLE", "master_dark": "MASTER_DARK", "master_flat": "MASTER_FLAT"}
    frames += [(sof.parent / f"{name}.fits", tag) for name, tag in further.items()]
    return World("wavecal", "muse_wavecal", frames, {"nifu": 2, "xorder": 1})


def lsf(folder: Path) -> World:
    """muse_lsf: few profiles, since the slices are narrow; wide ones take too long here."""
    world = wavecal(folder)
    sof = folder / "arcs" / "lsf.sof"
    name = next(line.split()[0] for line in sof.read_text().splitlines() if "WAVECAL_TABLE" in line)
    arcs = [path for path, tag in world.frames if tag == "ARC"]
    retagged = [(path, "ARC_LSF" if path == arcs[-1] else tag) for path, tag in world.frames]
    frames = [*retagged, (sof.parent / name, "WAVECAL_TABLE")]
    options = {"nifu": 2, "lsf_range": 20.0, "lsf_size": 60, "lambda_size": 8}
    return replace(world, name="lsf", recipe="muse_lsf", frames=frames, options=options)


ARC_WORLDS: dict[str, Callable[[Path], World]] = {"wavecal": wavecal, "lsf": lsf}
