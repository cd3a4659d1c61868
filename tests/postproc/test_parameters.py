# SPDX-License-Identifier: BSD-3-Clause
"""Parameters of muse_scipost that the C recipe does not have, and the variables that set them."""

from __future__ import annotations

import pytest

from muse_core.framework import ParameterError, registry

pytestmark = pytest.mark.unit
SPEC = registry.load("muse_scipost").spec


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("MUSE_DAR_CORRECT_METHOD", "Owens", "dar_method", "Owens"),
        ("MUSE_DAR_CORRECT_METHOD", "nonsense", "dar_method", "Filippenko"),
        ("MUSE_SUPERFLAT_POS", "10.5,-20,30", "superflat_pos", (10.5, -20.0, 30.0)),
        ("MUSE_SUPERFLAT_POS", "", "superflat_pos", ()),
        ("MUSE_PIXTABLE_SAVE_AS_TABLE", "", "table_layout", "table"),
        ("MUSE_COLLAPSE_USE_VARIANCE", "2x", "collapse_use_variance", True),
        ("MUSE_COLLAPSE_USE_VARIANCE", "0", "collapse_use_variance", False),
        ("MUSE_COLLAPSE_USE_VARIANCE", "TRUE", "collapse_use_variance", False),
        ("MUSE_COLLAPSE_PIXTABLE", "1", "collapse_pixtable", True),
        ("MUSE_COLLAPSE_PIXTABLE", "yes", "collapse_pixtable", False),
        ("MUSE_AUTOCAL_EXCLUDE_RAMAN", "2.5", "autocal_exclude_raman", 2.5),
        ("MUSE_AUTOCAL_EXCLUDE_RAMAN", "yes", "autocal_exclude_raman", 0.0),
    ],
)
def test_variables_set_parameters(variable, text, name, value):
    p = SPEC.values({}, {variable: text})
    assert getattr(p, name) == value
    recorded = {param.name for param, _ in p.recorded()}
    assert (name in recorded) == (not p.is_default(name))


def test_a_parameter_wins_over_its_variable():
    p = SPEC.values({"dar_method": "Ciddor"}, {"MUSE_DAR_CORRECT_METHOD": "Owens"})
    assert p.dar_method == "Ciddor"


def test_a_variable_without_effect_is_told():
    notes = SPEC.values({}, {"MUSE_AUTOCAL_EXCLUDE_RAMAN": "yes"}).notes
    assert notes == ("MUSE_AUTOCAL_EXCLUDE_RAMAN is no positive number of Angstrom and has no effect",)


@pytest.mark.parametrize("name", ["skymodel_sampling", "skymodel_csampling"])
@pytest.mark.parametrize("step", [0.0, -1.0, float("inf"), float("nan")])
def test_samplings_are_positive(name, step):
    with pytest.raises(ParameterError, match=name):
        SPEC.values({name: step})


def test_ours_come_after_those_of_the_c_recipe():
    ours = [param.ours for param in SPEC.params]
    assert ours == sorted(ours)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("pixfrac", "half,0.7", (0.0, 0.7)),
        ("pixfrac", "1,1,1,1", (0.6,) * 3),
        ("sky_crsigma", "9.", (15.0, 0.0)),
    ],
)
def test_bad_lists_are_read_as_in_c_only_in_the_compatible_mode(name, text, value):
    with pytest.raises(ParameterError, match=f"parameter {name}"):
        SPEC.values({name: text})
    assert getattr(SPEC.values({name: text, "compat": True}), name) == value
