# SPDX-License-Identifier: BSD-3-Clause
"""Sound inputs of recipes that take what other recipes make: single steps, sums, reduced images.

A recipe joins by a line in `STEPS`: its inputs are taken from a pool of simulated files and of products by
the tags that it declares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.corpus.worlds import World, detector, photometry, science

Pool = dict[str, list[Path]]
OBJECT, REDUCED = "PIXTABLE_OBJECT", "PIXTABLE_REDUCED"


@dataclass(frozen=True)
class Step:
    """How a recipe is run in the corpus.

    Parameters
    ----------
    options : its parameters
    tags : tag of the recipe -> tag of the pool, where they differ
    without : declared tags that are not given
    """

    options: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


STEPS: dict[str, Step] = {
    "muse_scipost_make_cube": Step({"filter": "white,WIDE", "stacked": True}, {OBJECT: "PROJECTED"}),
    "muse_scipost_correct_dar": Step(),
    "muse_scipost_correct_rv": Step(),
    "muse_scipost_apply_astrometry": Step(),
    "muse_scipost_calibrate_flux": Step(),
    "muse_scipost_raman": Step(),
    "muse_scipost_subtract_sky": Step(tags={REDUCED: "CALIBRATED"}),
    "muse_scipost_subtract_sky_simple": Step(tags={REDUCED: "CALIBRATED"}),
    "muse_scipost_combine_pixtables": Step(tags={OBJECT: "PROJECTED"}),
}


def joined(name: str, recipe: str, pool: Mapping[str, list[Path]], step: Step) -> World:
    """Return the world of a recipe: all of its declared inputs that the pool has."""
    from muse_core.framework.registry import load

    frames = [
        (path, declared.tag)
        for declared in load(recipe).spec.inputs
        if declared.tag not in step.without
        for path in pool.get(step.tags.get(declared.tag, declared.tag), ())
    ]
    return World(name, recipe, frames, step.options)


def pool_of(world: World) -> Pool:
    """Return the files of a world by their tags."""
    found: Pool = {}
    for path, tag in world.frames:
        found.setdefault(tag, []).append(path)
    return found


def _science_pool(folder: Path) -> Pool:
    """Files of muse_scipost, and what single steps take: tables on the sky, calibrated, a sky spectrum."""
    from muse_core.framework import run_recipe

    pool = pool_of(science(folder))
    made, left = {}, ("OFFSET_LIST", "SKY_MASK")
    for name, options in (
        ("projected", {"skymethod": "none", "save": "individual"}),
        ("sky", {"skymethod": "simple", "save": "skymodel"}),
    ):
        out = folder / name
        out.mkdir()
        frames = [(path, tag) for tag, paths in pool.items() for path in paths if tag not in left]
        made[name] = run_recipe("muse_scipost", frames, options, workdir=out)
    calibrated = folder / "calibrated"
    calibrated.mkdir()
    tags = (OBJECT, "STD_RESPONSE", "EXTINCT_TABLE")
    frames = [(path, tag) for tag in tags for path in pool[tag]]
    tables = run_recipe("muse_scipost_calibrate_flux", frames, {}, workdir=calibrated)
    pool["CALIBRATED"] = [p.path for p in tables if p.tag.startswith("PIXTABLE")]
    pool["PROJECTED"] = [p.path for p in made["projected"] if p.tag == REDUCED]
    pool["SKY_SPECTRUM"] = [p.path for p in made["sky"] if p.tag == "SKY_SPECTRUM"]
    return pool


def _step_world(recipe: str) -> Callable[[Path], World]:
    def make(folder: Path) -> World:
        name = recipe.removeprefix("muse_").removeprefix("scipost_")
        return joined(name, recipe, _science_pool(folder), STEPS[recipe])

    return make


def sums(folder: Path) -> World:
    """muse_exp_combine with exposures that are added to sums."""
    from muse_core.framework import run_recipe
    from tests.corpus.worlds import exposures

    first = exposures(folder, "sums", 4)
    tables = [frame for frame in first.frames if frame[1] == REDUCED]
    rest = [frame for frame in first.frames if frame[1] not in (REDUCED, "OUTPUT_WCS")]
    out = folder / "sums-of-two"
    out.mkdir()
    products = run_recipe("muse_exp_combine", [*tables[:2], *rest], {"save": "sums"}, workdir=out)
    made = [(p.path, p.tag) for p in products if p.tag == "DATACUBE_SUMS"]
    frames = [*tables[2:], *rest, *made]
    return World("sums", "muse_exp_combine", frames, {"save": "cube,sums"}, {}, (REDUCED, "DATACUBE_SUMS"))


def reduced(folder: Path) -> World:
    """muse_scibasic with images that were reduced before."""
    from muse_core.framework import run_recipe

    world = detector(folder)
    out = folder / "red"
    out.mkdir()
    products = run_recipe(world.recipe, world.frames, world.options, workdir=out)
    images = [(p.path, "REDUCED") for p in products if p.tag == "OBJECT_RED"]
    tables = [f for f in world.frames if f[1] in ("TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE")]
    return World("reduced", world.recipe, [*images, *tables], {})


def regridded(folder: Path) -> World:
    """muse_imphot with an HST image on the pixels of the MUSE image."""
    from muse_core.framework import run_recipe

    world = photometry(folder)
    out = folder / "regrid"
    out.mkdir()
    products = run_recipe(world.recipe, world.frames, {**world.options, "save": "hst"}, workdir=out)
    images = [frame for frame in world.frames if frame[1] == "IMAGE_FOV"]
    images += [(p.path, p.tag) for p in products if p.tag == "HST_IMAGE_REGRID"]
    options = {**world.options, "method": "fourier", "save": "model"}
    return replace(world, name="regridded", frames=images, options=options)


STEP_WORLDS: dict[str, Callable[[Path], World]] = {
    **{recipe.removeprefix("muse_").removeprefix("scipost_"): _step_world(recipe) for recipe in STEPS},
    "sums": sums,
    "reduced": reduced,
    "regridded": regridded,
}
