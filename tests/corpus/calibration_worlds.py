# SPDX-License-Identifier: BSD-3-Clause
"""Sound raw calibration frames of the recipes that make masters; a recipe joins by a line in `MASTERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.corpus.worlds import World

OVERSCAN = {"overscan": "vpoly:3", "ovscreject": "none"}
MASTERS: dict[str, tuple[tuple[str, ...], Mapping[str, object]]] = {
    "muse_bias": (("BIAS",), OVERSCAN),
    "muse_dark": (("DARK", "MASTER_BIAS", "BADPIX_TABLE"), OVERSCAN),
}
"""Tags of its inputs, and parameters, by the recipe."""


def _master_world(recipe: str) -> Callable[[Path], World]:
    def make(folder: Path) -> World:
        from muse_core.simulate.raw_instrument import RawSetup
        from muse_core.simulate.raw_masters import simulate_masters

        tags, options = MASTERS[recipe]
        name = recipe.removeprefix("muse_")
        made = simulate_masters(folder / name, RawSetup(seed=5, nx=96, ny=64, ifus=(1, 2), cosmics=5))
        return World(name, recipe, made.frames(*tags), options)

    return make


CALIBRATION_WORLDS: dict[str, Callable[[Path], World]] = {
    recipe.removeprefix("muse_"): _master_world(recipe) for recipe in MASTERS
}
