# SPDX-License-Identifier: BSD-3-Clause
"""One run of a recipe in a forked process, and what became of it.

A fork of a process in which all modules are imported costs a hundredth of a second; it may die of a signal,
hang or take all memory, and only this run is lost.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.corpus.run_damage import RUNS
from tests.corpus.worlds import Frames, World

CPU_SECONDS, WALL_SECONDS = 20, 240
MOST_MEMORY = 1_500_000_000
"""Bytes that a run on these small inputs may take (the interpreter and its libraries take 0.3 GB)."""

GOOD = ("ok", "ok, warned", "error")
BAD = (
    "unclear error",
    "nonsense",
    "half product",
    "hidden traceback",
    "traceback",
    "memory",
    "hang",
    "signal",
)
_ERRORS = (
    "Key Index Type Attribute ZeroDivision ModuleNotFound Overflow Recursion LinAlg UnboundLocal Assertion "
    r"Unicode\w* Memory Value OS Runtime Zlib EOF Import Verify"
)
_PHRASES = (
    r"unexpected [A-Z]\w+", "Traceback", "NoneType", "has no attribute", r"index \d+ is out of bounds",
    "out of range for", "could not (?:be )?broadcast", "not subscriptable", "buffer is (?:too small|smaller)",
    "unsupported operand", r"' object is not", "cannot convert float", "invalid literal for", "unhashable",
    "cannot reshape", "all the input array", "must be real number", "'<' not supported", "argument must be",
    r"dtype\(", "ndarray", "cannot fit 'int'",
)  # fmt: skip
INTERNAL = re.compile("|".join([*_PHRASES, rf"\b(?:{'|'.join(_ERRORS.split())})Error\b"]))
"""What a message to a user never holds: the words of the interpreter and its libraries."""


@dataclass(frozen=True)
class Verdict:
    """What became of a run: an outcome of `GOOD` or `BAD`, and the text that belongs to it."""

    outcome: str
    text: str = ""
    seconds: float = 0.0
    memory: int = 0
    profile: dict = field(default_factory=dict)
    warned: tuple[str, ...] = ()


def profile_of(path: Path) -> dict[str, list[float]]:
    """Shape and level of each extension of a product, in a few numbers."""
    found = {}
    with fits.open(path, memmap=False, checksum=True) as hdus:
        for number, hdu in enumerate(hdus):
            if hdu.data is None:
                continue
            columns = (
                {name: hdu.data[name] for name in hdu.columns.names}
                if isinstance(hdu, fits.BinTableHDU)
                else {"": hdu.data}
            )
            for name, data in columns.items():
                data = np.asarray(data)
                if data.dtype.kind not in "fiu":
                    continue
                sound = np.isfinite(data)
                level = np.abs(data[sound & (data != 0)].astype(float))
                found[f"{number}:{hdu.name}:{name}"] = [
                    float(data.size),
                    float(sound.mean()) if data.size else 0.0,
                    float(np.median(level)) if level.size else 0.0,
                    float(level.max()) if level.size else 0.0,
                ]
    return found


def _nonsense(sound: dict[str, dict], found: dict[str, dict], asked: str = "") -> str:
    """What of the products cannot be right, compared with those of the sound inputs ("" if nothing).

    Parameters
    ----------
    asked : "all" where the products may be others, since parameters or the set of frames are, "size" where
        their sizes may be
    """
    missing = sorted(set(sound) - set(found))
    if missing and asked == "all":
        return ""
    if missing:
        return f"without {', '.join(missing)}"
    for name, parts in sound.items():
        for part, (size, finite, median, most) in parts.items():
            if part.split(":")[1] == "DQ" or part.endswith(":group"):  # no measure, but names
                continue
            if part not in found[name]:
                if asked == "all":
                    continue
                return f"{name} without {part}"
            size2, finite2, median2, most2 = found[name][part]
            if asked == "all":
                if finite > 0.05 and finite2 == 0.0 and size2:
                    return f"{name} {part}: finite {finite:.3f} -> {finite2:.3f}"
                continue
            if not asked and (size2 < 0.3 * size or size2 > 20 * size + 100):
                return f"{name} {part}: size {size:g} -> {size2:g}"
            if not asked and finite > 0.05 and finite2 < 0.3 * finite:
                return f"{name} {part}: finite {finite:.3f} -> {finite2:.3f}"
            if median > 0 and not 1e-3 * median < median2 < 1e3 * median:
                return f"{name} {part}: median {median:g} -> {median2:g}"
            if most > 0 and most2 > 1e8 * most:
                return f"{name} {part}: largest {most:g} -> {most2:g}"
    return ""


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _run(world: World, frames: Frames, tag: str, out: Path, report: bool) -> dict:
    """Run the recipe in this process, with its quality page or not; returns what is to be judged."""
    from muse_core.framework import RecipeError, run_recipe
    from muse_core.framework.settings import Environment

    kept = _Kept()
    answer: dict = {}
    try:
        products = run_recipe(
            world.recipe, frames, world.settings(tag), workdir=out, threads=1, handlers=[kept],
            environment=Environment(threads=1, memory_bytes=300_000_000, report=report),
        )  # fmt: skip
    except RecipeError as error:
        answer = {"outcome": "error", "text": str(error)}
    except BaseException as error:  # noqa: BLE001  this is what is looked for
        answer = {
            "outcome": "traceback",
            "text": f"{type(error).__name__}: {error} " + " < ".join(_places(error)[::-1]),
        }
    else:
        answer = {"outcome": "ok", "text": "", "profile": {}}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for product in products:
                try:
                    answer["profile"][product.path.name] = profile_of(product.path)
                except Exception as error:  # noqa: BLE001  astropy raises many kinds for broken files
                    answer = {"outcome": "half product", "text": f"{product.path.name}: {error}"}
                    break
        expected = {product.path.name for product in products}
        left = {
            path.name for path in out.iterdir() if not path.name.endswith(("_report.html", "_run.json"))
        } - expected
        if left and answer["outcome"] == "ok":
            answer = {"outcome": "half product", "text": f"left behind: {', '.join(sorted(left))}"}
    if answer["outcome"] == "error":
        hidden = [name.name for name in out.iterdir() if name.name.startswith(".")]
        if hidden:
            answer = {"outcome": "half product", "text": f"left behind: {', '.join(hidden)}"}
    answer["warned"] = kept.texts
    return answer


def _places(error: BaseException) -> list[str]:
    """Where in this project an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "site-packages" not in f.filename and "python3" not in f.filename]
    return [f"{Path(f.filename).name}:{f.lineno}" for f in ours[-4:]]


def _settled() -> None:
    """Look the settings of the FITS library up once: it parses them anew for each card, a fifth of a run."""
    for name in list(fits.conf.keys()):
        setattr(type(fits.conf), name, getattr(fits.conf, name))


def _child(work: Callable[[], dict], pipe: int) -> None:
    status = 1
    try:
        _settled()
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        warnings.simplefilter("ignore")
        answer = json.dumps(work()).encode()
        with os.fdopen(pipe, "wb") as stream:
            stream.write(answer)
        status = 0
    finally:
        os._exit(status)


def forked(work: Callable[[], dict]) -> tuple[dict, int, float, int]:
    """Do some work in a fork; returns its answer, the wait status, seconds and bytes."""
    ours, theirs = os.pipe()
    gc.freeze()  # what is here already is not looked through, and so not copied, in the fork
    started = time.monotonic()
    process = os.fork()
    if process == 0:
        os.close(ours)
        _child(work, theirs)
    os.close(theirs)
    text, late, awake, last = b"", False, 0.0, started
    os.set_blocking(ours, False)
    while True:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(ours, 1 << 16):
                text += piece
        ended, status, usage = os.wait4(process, os.WNOHANG)
        if ended:
            break
        now = time.monotonic()
        awake, last = awake + min(now - last, 1.0), now  # whoever stops both of us does not make it late
        if not late and awake > WALL_SECONDS:
            os.kill(process, signal.SIGKILL)
            late = True
        time.sleep(0.003)
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(ours, 1 << 16):
            text += piece
    os.close(ours)
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    answer = json.loads(text) if text else {}
    if late:
        answer = {"outcome": "hang", "text": f"more than {WALL_SECONDS} s"}
    return answer, status, time.monotonic() - started, memory


def sound_verdict(world: World, tag: str, out: Path) -> Verdict:
    """Run the sound inputs, which must make products."""
    answer, status, seconds, memory = forked(lambda: _run(world, world.frames, tag, out, False))
    if answer.get("outcome") != "ok":
        raise RuntimeError(f"the sound inputs of {world.name} ({tag}) fail: {status} {answer}")
    return Verdict("ok", "", seconds, memory, answer["profile"], tuple(answer["warned"]))


def plain(texts: Iterable[str]) -> set[str]:
    """Warnings without numbers, which differ a little with each run."""
    return {re.sub(r"[-+]?\d[\d.e+-]*", "#", text) for text in texts}


def verdict(
    world: World,
    frames: Frames,
    tag: str,
    names: tuple[str, ...],
    out: Path,
    sound: Verdict,
    report: bool = False,
) -> Verdict:
    """Run a recipe on inputs of which a file is broken, and say what became of it.

    Parameters
    ----------
    names : one of them, or the tag, must be in the message of an error
    """
    answer, status, seconds, memory = forked(lambda: _run(world, frames, tag, out, report))

    def told(outcome: str, text: str) -> Verdict:
        return Verdict(outcome, text, seconds, memory, {}, tuple(answer.get("warned", ())))

    if answer.get("outcome") == "hang":
        return told("hang", answer["text"])
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return told(
            "hang" if number in (signal.SIGXCPU, signal.SIGKILL) else "signal", signal.Signals(number).name
        )
    if not answer:
        return told("signal", f"no answer, status {status}")
    outcome, text = answer["outcome"], answer["text"]
    if outcome in ("traceback", "half product"):
        return told(outcome, text)
    if memory > MOST_MEMORY:
        return told("memory", f"{memory / 1e6:.0f} MB; {text}")
    for message in [text, *answer["warned"]]:
        if INTERNAL.search(message):
            return told("hidden traceback", message)
    if outcome == "error":
        named = any(name in text for name in (*names, tag))
        return told("error" if named else "unclear error", text)
    fresh = plain(answer["warned"]) - plain(sound.warned)
    if fresh:
        return told("ok, warned", "; ".join(sorted(fresh)))
    asked = "all" if tag in RUNS else "size" if tag == "OUTPUT_WCS" else ""
    nonsense = _nonsense(sound.profile, answer["profile"], asked)
    return told("nonsense" if nonsense else "ok", nonsense)
