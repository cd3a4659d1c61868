# SPDX-License-Identifier: BSD-3-Clause
"""Mistakes with a name in a few sets of inputs; ``make corpus`` makes them in all."""

from __future__ import annotations

import warnings

import pytest

from tests.corpus.all_worlds import WORLDS
from tests.corpus.named import TOLD, answers
from tests.corpus.named_cases import NAMED, named_for

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("calibrate_flux", ("STD_RESPONSE", "EXTINCT_TABLE", "STD_TELLURIC")),
        ("scipost-tables", ("LSF_PROFILE",)),
        ("dark", ("MASTER_BIAS", "BADPIX_TABLE")),
    ],
)
def test_mistakes_are_told_with_file_and_item(name, tags, tmp_path):
    warnings.simplefilter("ignore")
    found = list(answers(WORLDS[name](tmp_path), tmp_path, tags))
    assert len(found) >= 10
    assert [answer.line() for answer in found if answer.outcome != TOLD] == []


def test_all_tags_of_the_patterns_have_mistakes():
    assert {pattern for pattern in NAMED if not any(named_for(tag) for tag in pattern.split("|"))} == set()
