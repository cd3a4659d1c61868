# SPDX-License-Identifier: BSD-3-Clause
"""A small part of the corpus of broken inputs; ``make corpus`` runs all of it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from muse_core.framework import registry
from tests.corpus.all_worlds import WORLDS
from tests.corpus.damage import broken
from tests.corpus.runner import cases, different_files, never_broken, prepare, table
from tests.corpus.target import Target

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["align", "combine"])
def test_no_broken_input_does_harm(tmp_path, name):
    """A message or a sound product: no signal, hang, traceback, half product, nor nonsense without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        world = WORLDS[name](tmp_path)
        found = list(cases(world, prepare(world, tmp_path), tmp_path, seed=3, per_tag=10))
    bad = [
        case.line()
        for case in found
        if case.verdict.outcome not in ("ok", "ok, warned", "error", "unclear error")
    ]
    assert not bad, "\n".join([table(found, lambda case: case.tag), *bad])
    assert {case.verdict.outcome for case in found} >= {"ok", "error"}


def test_the_same_seed_breaks_a_file_in_the_same_way(tmp_path):
    from astropy.io import fits

    source = tmp_path / "sound.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(name="DATA")]).writeto(source)
    made = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in (0, 4, 6, 7):  # of families that write bytes
            copy = tmp_path / folder / f"{number}.fits"
            broken(5, "x", number, Target(source, copy, (source,)))
            made.append(copy.read_bytes())
    assert made[: len(made) // 2] == made[len(made) // 2 :]
    assert len(set(made)) > 2


@pytest.mark.slow
def test_there_are_enough_different_broken_files_of_each_tag(tmp_path):
    """As many as ``make corpus`` asks for; they are made, no recipe is run on them."""
    per_tag, made = 150, {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name, make in WORLDS.items():
            home = tmp_path / name
            home.mkdir()
            world = make(home)
            for tag in set(world.tags()) - set(made):
                made[tag] = different_files(world, tag, per_tag, 1, home)
    assert {tag: count for tag, count in made.items() if count < per_tag} == {}
    declared = {i.tag for name in registry.names() for i in registry.load(name).spec.inputs}
    assert not declared - set(made)


def test_inputs_that_no_set_has_are_found():
    """What the end of a whole run tells: declared inputs of which no file was broken."""
    declared = {(name, i.tag) for name in registry.names() for i in registry.load(name).spec.inputs}
    done = {pair for pair in declared if pair != ("muse_lsf", "ARC_LSF")}
    assert never_broken(done) == ["muse_lsf ARC_LSF"]
