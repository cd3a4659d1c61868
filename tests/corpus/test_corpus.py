# SPDX-License-Identifier: BSD-3-Clause
"""A small part of the corpus of broken inputs; ``make corpus`` runs all of it."""

from __future__ import annotations

import warnings

import pytest

from tests.corpus.all_worlds import WORLDS
from tests.corpus.damage import broken
from tests.corpus.runner import cases, prepare, table
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
