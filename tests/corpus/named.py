# SPDX-License-Identifier: BSD-3-Clause
"""Each mistake that has a name, for each recipe that takes its tag: is it told, with file and item?

python -m tests.corpus.named [sets of inputs]

The tables of all sets take half an hour of one processor.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.corpus.judge import BAD, Verdict, plain, sound_verdict, verdict
from tests.corpus.named_cases import named_for
from tests.corpus.named_damage import Named
from tests.corpus.target import NotApplicableError
from tests.corpus.worlds import World

TOLD, VAGUE, SILENT = "told", "vague", "silent"
"""Named with file and item; a message without one of them; no message, and products that may be sound."""


@dataclass(frozen=True)
class Answer:
    """What a recipe said to a mistake: `TOLD`, `VAGUE`, `SILENT` or an outcome of `BAD`."""

    world: str
    tag: str
    mistake: str
    outcome: str
    text: str

    def line(self) -> str:
        """One line for a report."""
        return f"{self.outcome}: {self.world} {self.tag} [{self.mistake}]: {self.text[:500]}"


def answer_to(world: World, tag: str, mistake: Named, sound: Verdict, home: Path) -> Answer | None:
    """Make a mistake in the first file of a tag and run the recipe; None where the file cannot hold it."""
    source = next(path for path, name in world.frames if name == tag)
    out = home / "out"
    out.mkdir()
    broken = home / f"broken-{source.name}"
    try:
        mistake.write(source, broken)
    except NotApplicableError:
        return None
    if broken.read_bytes() == source.read_bytes():
        return None
    frames = [(broken if path == source and name == tag else path, name) for path, name in world.frames]
    found = verdict(world, frames, tag, (broken.name,), out, sound)
    usual = plain(sound.warned)
    fresh = [text for text in found.warned if not plain([text.replace("broken-", "")]) <= usual]
    texts = [found.text, *fresh] if found.outcome.endswith("error") else fresh
    named = any(
        broken.name in text and re.search(mistake.words, text.replace(broken.name, ""), re.IGNORECASE)
        for text in texts
    )
    if found.outcome in BAD and found.outcome not in ("unclear error", "nonsense"):
        outcome = found.outcome
    elif named:
        outcome = TOLD
    else:
        outcome = VAGUE if texts else SILENT if found.outcome.startswith("ok") else found.outcome
    told = "; ".join(texts or [found.text])
    return Answer(world.name, tag, mistake.name, outcome, told.replace("\n", " | ").replace(f"{home}/", ""))


def answers(world: World, home: Path, tags: Sequence[str] = ()) -> Iterator[Answer]:
    """Yield the answers to all mistakes of all files of a set of inputs."""
    from muse_core.framework import run_recipe

    folder = home / f"named-{world.name}"
    folder.mkdir()
    known = [tag for tag in world.tags() if not tags or tag in tags]
    logging.disable(logging.CRITICAL)
    try:  # modules and compiled functions are there before the processes fork
        for number, tag in enumerate(known):
            first = folder / f"first{number}"
            first.mkdir()
            if world.settings(tag) not in [world.settings(name) for name in known[:number]]:
                run_recipe(world.recipe, world.frames, world.settings(tag), workdir=first, threads=1)
    finally:
        logging.disable(logging.NOTSET)
    for tag in known:
        quiet = folder / f"sound-{tag}"
        quiet.mkdir()
        sound = sound_verdict(world, tag, quiet)
        for mistake in named_for(tag):
            with tempfile.TemporaryDirectory(dir=folder) as case:
                found = answer_to(world, tag, mistake, sound, Path(case))
            if found is not None:
                yield found


def main() -> int:
    """Print what was not told, and how many of each outcome."""
    from tests.corpus.all_worlds import WORLDS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", choices=[*WORLDS, []], help="sets of inputs (all)")
    parser.add_argument("--tags", nargs="*", default=(), help="only files of these tags")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    for name in args.worlds or list(WORLDS):
        with tempfile.TemporaryDirectory() as folder:
            for found in answers(WORLDS[name](Path(folder)), Path(folder), args.tags):
                counts[found.outcome] += 1
                if found.outcome != TOLD:
                    print(found.line(), flush=True)
    print(", ".join(f"{outcome}: {number}" for outcome, number in counts.most_common()))
    return 1 if set(counts) & set(BAD) - {"unclear error", "nonsense"} else 0  # those are to be read


if __name__ == "__main__":
    sys.exit(main())
