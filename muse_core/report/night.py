# SPDX-License-Identifier: BSD-3-Clause
"""The page of a whole reduction: which steps were run, what failed, and pictures of what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from muse_core.framework.errors import RecipeError
from muse_core.report.page import Link, Page, Picture, Section, Table, picture, table
from muse_core.report.quicklook import quick_figure

PICTURES = 6  # at most


@dataclass(frozen=True)
class NightStep:
    """A step of a plan, as the page tells it.

    Parameters
    ----------
    name : str
        of its folder, beside the page
    recipe, subject : str
        what was run, and on what
    state : str
        in words
    fine : bool
        whether it made what it should
    seconds : float
    remarks : list of str
        what was left out, why it failed
    products : list of str
        names of files in its folder
    follows : list of str
        steps that should have made what it cannot do without
    """

    name: str
    recipe: str
    subject: str
    state: str
    fine: bool
    seconds: float
    remarks: Sequence[str]
    products: Sequence[str]
    follows: Sequence[str] = ()


def night_page(steps: Sequence[NightStep], folder: Path, facts: Sequence[tuple[str, str]]) -> Page:
    """Describe the page of a reduction.

    Parameters
    ----------
    steps : in the order of the plan
    folder : of the plan; the page will stand in it
    facts : what else the head of the page tells
    """
    failed = [step for step in steps if not step.fine]
    causes = [step for step in failed if not step.follows]
    looks = [f"{step.name}: {text}" for step in causes for text in (step.remarks or [step.state])]
    if waiting := len(failed) - len(causes):
        looks.append(f"what {waiting} more step{'s need' if waiting > 1 else ' needs'} was not made: not run")
    cubes = [step for step in steps if "DATACUBE_FINAL.fits" in step.products]
    made = f"{len(steps) - len(failed)} of {len(steps)} steps made all they should"
    verdict = "Everything was made." if not failed else f"{made}."
    sections = [Section("results", tuple(_results(cubes, folder)))] if cubes else []
    sections.append(Section("steps", (_table(steps, folder),)))
    return Page(verdict, looks, list(facts), sections, "Made by musetools reduce.")


def _results(cubes: Sequence[NightStep], folder: Path) -> list[Picture | Table | str]:
    """Pictures of the cubes, the combined ones first; where there is one it stands for its exposures."""
    combined = [step for step in cubes if step.recipe == "muse_exp_combine"]
    parts: list[Picture | Table | str] = [
        table(
            ("cube", "of"),
            [
                (Link(f"{step.name}/DATACUBE_FINAL.fits", f"{step.name}/DATACUBE_FINAL.fits"), step.subject)
                for step in [*combined, *(step for step in cubes if step not in combined)]
            ],
        )
    ]
    for step in (combined or cubes)[:PICTURES]:
        path = folder / step.name / "DATACUBE_FINAL.fits"
        try:
            figure = quick_figure(path)
        except (RecipeError, OSError) as error:
            parts.append(f"{step.name}: no picture: {error}")
            continue
        parts.append(picture(figure, f"cube of {step.subject}", f"{step.name}: {step.subject}"))
    return parts


def _table(steps: Sequence[NightStep], folder: Path) -> Table:
    rows, marked = [], []
    for number, step in enumerate(steps):
        page = next(iter(sorted((folder / step.name).glob("*_report.html"))), None)
        log = folder / step.name / "log.txt"
        if not step.fine:
            marked.append(number)
        rows.append(
            (
                step.name,
                step.subject,
                step.state,
                f"{step.seconds:.1f}" if step.seconds else "",
                len(step.products) or "",
                Link("page", f"{step.name}/{page.name}") if page else "",
                Link("log", f"{step.name}/log.txt") if log.is_file() else "",
                "; ".join(step.remarks),
            )
        )
    return table(("step", "of", "state", "seconds", "products", "", "", "remarks"), rows, marked)
