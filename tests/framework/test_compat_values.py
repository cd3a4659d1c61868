# SPDX-License-Identifier: BSD-3-Clause
"""Lists of parameters: strict by default, as lenient as C in compatible mode, from every host alike."""

from __future__ import annotations

import pytest

from muse_core.framework import FloatList, Param, ParameterError, registry
from muse_core.hosts.options import parse_options

pytestmark = pytest.mark.unit
SCIPOST = registry.load("muse_scipost").spec


def test_a_host_leaves_lists_to_the_run():
    parsed = parse_options(["--pixfrac=0.8,.6,.5,.4", "in.sof"], SCIPOST.params)
    with pytest.raises(ParameterError, match="4 values, 1 to 3 are expected"):
        SCIPOST.values(parsed.values)
    values = SCIPOST.values({**parsed.values, "compat": True})
    assert values.pixfrac == (0.6, 0.6, 0.6)
    assert any("4 values" in note for note in values.notes)


@pytest.mark.parametrize(("text", "value"), [("0", (0.0,)), ("-1,0.5", (-1.0, 0.5))])
def test_numbers_outside_are_told_in_compatible_mode(text, value):
    with pytest.raises(ParameterError, match="is not above 1e-06"):
        SCIPOST.values({"pixfrac": text})
    values = SCIPOST.values({"pixfrac": text, "compat": True})
    assert values.pixfrac == value
    assert any("used all the same, as in C" in note for note in values.notes)


def test_infinite_list_values_are_refused_in_compatible_mode():
    with pytest.raises(ParameterError, match="not a usable number"):
        SCIPOST.values({"pixfrac": "1e999", "compat": True})


def test_none_is_no_zero():
    param = Param("lines", "none", kind=FloatList(1, 3, nothing=("none",)))
    assert param.parsed_leniently("none") == ((), "")
    assert param.parsed_leniently("1,2,3,4")[1] != ""
