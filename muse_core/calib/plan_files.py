# SPDX-License-Identifier: BSD-3-Clause
"""The files of a plan: numbered sets of frames, plan.toml, and run.sh that runs what is not done yet.

A step is done when its folder holds the key of what it was run with (frames, commands, and the keys of the
steps it waits for) in the file ``done``: a plan that has changed runs what has changed, and all that follows.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from json import dumps
from pathlib import Path
from shlex import quote

from muse_core.calib.compose import write_sof
from muse_core.calib.plan import Step
from muse_core.calib.rules import Rules
from muse_core.calib.store import shown
from muse_core.framework.errors import RecipeError

_SOF_NAME = re.compile(r"\d{2,}_muse_\w+\.sof(\.incomplete)?")


def write_plan(steps: list[Step], folder: Path, rules: Rules) -> list[str]:
    """Write the files of a plan; sets of an earlier plan that it no longer has are removed.

    Returns
    -------
    lines for the user about what an earlier plan left behind

    Raises
    ------
    RecipeError
        where the folder cannot be written, or holds a plan.toml of something else
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = _earlier(folder / "plan.toml")
        kept = [write_sof(step.sof, folder / f"{step.name}.sof", rules) for step in steps if step.sof]
        keys = step_keys(steps, str(folder))
        _write(folder / "plan.toml", plan_text(steps, rules, str(folder)))
        _write(folder / "run.sh", script_text(steps, keys), mode=0o755)
        for name in sorted(old - {path.name for path in kept}):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise RecipeError(
            f"{shown(folder)} could not be written: {error.strerror}; check free space and rights"
        ) from error
    names = {step.name for step in steps}
    left = sorted({name.partition(".")[0] for name in old} - names)
    return [
        f"C131 {name}: folder of an earlier plan, no longer used; remove it if you do not need it"
        for name in left
        if (folder / name).is_dir()
    ]


def _earlier(path: Path) -> set[str]:
    """Names of the sets of frames that an earlier plan wrote."""
    if not path.exists():
        return set()
    try:
        steps = tomllib.loads(path.read_text(encoding="utf-8"))["step"]
        names = {str(step["sof"]) for step in steps}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError):
        names = {""}
    if not all(_SOF_NAME.fullmatch(name) for name in names):
        raise RecipeError(
            f"{shown(path)}: is no plan of this program and would be overwritten; give another folder (-o)"
        )
    return names


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_bytes(text.encode("utf-8", "surrogateescape"))
    temporary.chmod(mode)
    temporary.replace(path)


def step_keys(steps: list[Step], folder: str) -> dict[str, str]:
    """Return the key of each step: what it reads (names, sizes, times), how, and what the steps before read.

    Parameters
    ----------
    steps : in an order in which each comes after those it waits for
    folder : where they run; what lies in it is made by steps, whose keys stand for it
    """
    keys: dict[str, str] = {}
    for step in steps:
        lines = [*step.commands, *sorted(keys[key] for key in step.needs if key in keys)]
        for path, tag in step.sof.lines if step.sof else ():
            age = "" if path.startswith(f"{folder}/") else _age(path)
            lines.append(f"{path} {tag} {age}")
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        keys[step.key] = hashlib.sha256(text).hexdigest()[:16]
    return keys


def _age(path: str) -> str:
    try:
        status = Path(path).stat()
    except OSError:
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"


def plan_text(steps: list[Step], rules: Rules, folder: str) -> str:
    """Return the plan as TOML: the same for the same files, whatever the order they were found in."""
    text = [f"# cascade planned by the rules {rules.hash}", "version = 1", f"folder = {_toml(folder)}", ""]
    numbers = {step.key: step.number for step in steps}
    for step in steps:
        sof = step.sof
        missing = list(sof.missing) if sof else []
        text += [
            "[[step]]",
            f"number = {step.number}",
            f'recipe = "{step.recipe.name}"',
            f'sof = "{step.name}.sof{".incomplete" if missing else ""}"',
            f"for = {_toml([t.name for t in step.targets])}",
            f"commands = {_toml(step.commands)}",
            f"needs = {sorted(numbers[key] for key in set(step.needs) if key in numbers)}",
            f"products = {_toml([name for names in step.products.values() for name in names])}",
            f"missing = {_toml(missing)}",
            "",
        ]
    return "\n".join(text)


def _toml(value: str | list[str]) -> str:
    """Return texts for a TOML file; odd bytes of file names become visible ones."""
    return dumps(
        shown(value) if isinstance(value, str) else [shown(text) for text in value], ensure_ascii=False
    )


def script_text(steps: list[Step], keys: dict[str, str]) -> str:
    """Return a shell script that runs what is not done yet, in order, and stops at the first that fails."""
    users: dict[str, list[str]] = {step.key: [] for step in steps}
    for step in steps:
        for key in step.needs:
            users.setdefault(key, []).append(step.name)
    text = [
        "#!/bin/sh",
        "# runs the plan of this folder, step by step; what is done and still the same is left out",
        "set -eu",
        'cd "$(dirname "$0")"',
    ]
    for step in steps:
        name = step.name
        what = quote(f"{name}: {len(step.targets)} x {step.targets[0].tag}")
        later = " ".join(f"{other}/done" for other in dict.fromkeys(users[step.key]))
        text.append(f'if [ "$(cat {name}/done 2>/dev/null)" != {keys[step.key]} ]; then')
        if step.sof is not None and step.sof.missing:
            lacks = quote(f"{name} cannot run, see {name}.sof.incomplete: no {', '.join(step.sof.missing)}")
            text += [f"  echo {lacks}; exit 1", "fi"]
            continue
        stale = " ".join(filter(None, (f"{name}/*.fits", f"{name}/done", later)))
        text += [
            f"  echo {what}; mkdir -p {name}; rm -f {stale}",
            f"  (cd {name} && {' && '.join(step.commands)}) > {name}/log.txt 2>&1 ||",
            f'    {{ echo "{name} failed, see {name}/log.txt"; exit 1; }}',
            f"  echo {keys[step.key]} > {name}/done",
            "fi",
        ]
    return "\n".join(text) + "\n"
