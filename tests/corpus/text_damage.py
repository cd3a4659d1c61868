# SPDX-License-Identifier: BSD-3-Clause
"""Damage to text files."""

from __future__ import annotations

import numpy as np

from tests.corpus.target import NotApplicableError, Target, pick


def texts(rng: np.random.Generator, target: Target) -> str:
    """A text file with words that it must not have."""
    content = target.source.read_bytes()
    if content.startswith(b"SIMPLE"):
        raise NotApplicableError
    lines = content.split(b"\n")
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(lines)))
        line = bytearray(lines[at])
        kind = int(rng.integers(8))
        if kind == 0:
            lines[at] = rng.bytes(int(rng.integers(1, 60)))
        elif kind == 1 and line:
            line[int(rng.integers(len(line)))] = int(rng.integers(256))
            lines[at] = bytes(line)
        elif kind == 2:
            lines[at] = bytes(line[: int(rng.integers(len(line) + 1))])
        elif kind == 3:
            lines[at] = bytes(line).replace(b",", bytes(pick(rng, (b"", b" ", b",,", b";", b":"))))
        elif kind == 4:
            lines[at] = b"".join(c.to_bytes() if not 48 <= c < 58 else b"%d" % rng.integers(10) for c in line)
        elif kind == 5:
            words = (
                b"circle(", b"circle()", b"circle(nan,1,1)", b"box(1,2,3)", b"circle(1,1,1e400)",
                b"ellipse(1,1,-1,0,9)", b"fk5;fk4;", b"galactic; circle(1,2,3)", b"-",
                b"circle(1:2:3:4,5,6)", b"image; circle(1,1,0)",
            )  # fmt: skip
            lines[at] = bytes(pick(rng, words))
        elif kind == 6:
            lines[at] = bytes(line) * 2000
        else:
            lines.insert(at, bytes(line))
    target.copy.write_bytes(b"\n".join(lines))
    return "lines changed"
