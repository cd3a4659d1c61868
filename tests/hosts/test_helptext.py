# SPDX-License-Identifier: BSD-3-Clause
"""Manual pages: complete, wrapped, and with our own address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from muse_core.framework import Input, Manual, Param, RecipeSpec
from muse_core.framework.registry import available
from muse_core.hosts.helptext import LINE, man_page, recipe_help, reflow
from muse_core.version import CONTACT, __version__

pytestmark = pytest.mark.unit

RECIPES = {recipe.spec.name: recipe.spec for recipe in available()}
WHEN = re.compile(r"required|needed|without it|in place of|if given|used with|by default", re.I)


def paragraphs(page: str, title: str) -> dict[str, str]:
    """The entries of a section of a manual page: what stands before each text, and the text in one line."""
    assert f"  {title}:\n  \n" in page, f"{title} is not in the page"
    section = page.split(f"  {title}:\n  \n")[1].split("\n  \n")[0]
    parts = re.split(r"^    (\S+)$", section, flags=re.M)[1:]
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize("spec", RECIPES.values(), ids=RECIPES)
class TestShippedRecipes:
    def test_lines_are_wrapped(self, spec):
        text = man_page(spec, "muserun", show_hidden=True)
        for line in text.splitlines():
            assert len(line) <= LINE or " " not in line.strip()[:LINE] or CONTACT in line, line
        told = text.split("DESCRIPTION\n")[1].split("What each input")[0]
        lines = [line.rstrip() for line in told.splitlines()]
        early = [a for a, b in zip(lines, lines[1:]) if a and b and len(a) + len(b.split()[0]) < LINE - 4]
        assert early == []

    def test_every_input_says_what_it_is_for(self, spec):
        """Each input has a paragraph of its own, of more than its entry in the table of frames."""
        told = paragraphs(man_page(spec, "muserun"), "What each input is for")
        assert set(told) == {declared.tag for declared in spec.inputs}
        for declared in spec.inputs:
            text = told[declared.tag]
            assert text != f"{declared.help.rstrip('.')}.", f"{declared.tag}: when is it needed?"
            if declared.min > 0:
                assert "Required" in text, declared.tag
            assert WHEN.search(text), f"{declared.tag}: when is it needed, and what happens without it?"

    def test_every_choice_of_every_parameter_is_explained(self, spec):
        """Expert parameters are no exception, and neither are the words of lists."""
        text = man_page(spec, "muserun", show_hidden=True)
        for param in spec.params:
            known = param.choices or getattr(param.kind, "choices", ())
            if known:
                told = paragraphs(text, f"Values of {param.name}")
                assert set(told) == set(known), param.name
                assert all(len(meaning) > len(value) for value, meaning in told.items()), param.name

    def test_own_parameters_have_a_section(self, spec):
        own = [param.name for param in spec.params if param.ours and not param.hidden]
        text = man_page(spec, "muserun")
        assert ("OPTIONS THAT THE C RECIPE DOES NOT HAVE" in text) == bool(own)
        if own:
            ours = text.split("OPTIONS THAT THE C RECIPE DOES NOT HAVE")[1].split("AUTHOR")[0]
            assert re.findall(r"^  --(\w+)", ours, re.M) == own
            assert "Options that the C recipe does not have" in recipe_help(spec, "muserun")

    def test_contact_is_ours(self, spec):
        assert spec.email == CONTACT
        assert CONTACT in man_page(spec, "muserun")

    def test_variables_are_listed(self, spec):
        text = man_page(spec, "muserun")
        for name in ("OMP_NUM_THREADS", "MUSE_RECIPES_MEMORY", "MUSE_RECIPES_REPORT"):
            assert name in text
        for param in spec.params:
            assert param.variable is None or param.variable.name in text


def test_contact_invents_no_address():
    """The project has no home on a public host yet: nothing may say that it has."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert "urls" not in project
    assert "://" not in CONTACT
    assert f"Please report any problems with this recipe to {CONTACT}" in man_page(
        RECIPES["muse_imphot"], "muserun"
    )


def test_each_sky_method_is_explained():
    text = man_page(RECIPES["muse_scipost"], "muserun").split("Values of skymethod")[1].split("Values of")[0]
    for method in ("none", "subtract-model", "model", "simple"):
        assert re.search(rf"^    {method}$", text, re.M)


def test_recipe_of_ours_has_a_version_of_its_own():
    assert RECIPES["muse_imphot"].version_text == __version__
    assert RECIPES["muse_scipost"].version_text == "2.8.7"


def test_manual_about_unknown_names_is_refused():
    with pytest.raises(TypeError, match="NOPE"):
        RecipeSpec("muse_x", "x", inputs=(Input("A"),), manual=Manual({"NOPE": "text"}))
    with pytest.raises(TypeError, match="nope"):
        RecipeSpec("muse_x", "x", (Param("n", 1),), manual=Manual(values={"nope": ()}))


def test_reflow_keeps_what_is_indented():
    assert reflow("a b\nc\n\n  x\n  y\n\nd", 80) == "a b c\n\n  x\n  y\n\nd"
    assert reflow("one two three", 8) == "one two\nthree"


@pytest.mark.parametrize(
    ("recipe", "tags"),
    [
        ("muse_exp_align", {"SOURCE_LIST", "OFFSET_LIST"}),
        ("muse_imphot", {"IMPHOT_TABLE", "OFFSET_LIST"}),
        (
            "muse_scipost",
            {"PIXTABLE_REDUCED", "PIXTABLE_POSITIONED", "PIXTABLE_COMBINED", "AUTOCAL_FACTORS",
             "SKY_SPECTRUM", "SKY_LINES", "SKY_CONTINUUM", "SKY_REFINEMENT"},
        ),
    ],
)  # fmt: skip
def test_product_frames_carry_their_true_type(recipe, tags):
    assert {product.tag for product in RECIPES[recipe].products if product.type == "TABLE"} == tags
