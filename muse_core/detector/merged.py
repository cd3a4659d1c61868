# SPDX-License-Identifier: BSD-3-Clause
"""Products of all IFUs in one file (``merge``): extensions are kept on disk until the last IFU is there."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from muse_core.detector.headers import OF_CHANNEL, HeaderOfIfu
from muse_core.framework.execution import RunContext
from muse_core.framework.products import Card, header_without


@dataclass
class _Part:
    """Extensions of one IFU in a file of their own."""

    header: HeaderOfIfu
    path: Path


class ExtensionParts:
    """Extensions of a run, by product; threads may add at the same time."""

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self._parts: dict[tuple[str, int], list[_Part]] = {}

    def close(self) -> None:
        """Remove the parts."""
        for parts in self._parts.values():
            for part in parts:
                part.path.unlink(missing_ok=True)

    def part(self, tag: str, header: HeaderOfIfu, number: int = 0) -> BinaryIO:
        """Open a file for the extensions of one IFU; ``number`` is that of the product in a series."""
        descriptor, name = tempfile.mkstemp(prefix=f".{tag}.", suffix=".part", dir=self._ctx.workdir)
        with self._lock:
            self._parts.setdefault((tag, number), []).append(_Part(header, Path(name)))
        return os.fdopen(descriptor, "wb")

    def drop(self, ifu: int) -> None:
        """Forget what an IFU that failed has left."""
        with self._lock:
            for parts in self._parts.values():
                for part in [part for part in parts if part.header.ifu == ifu]:
                    part.path.unlink(missing_ok=True)
                    parts.remove(part)

    def finish(self, claims: Sequence[Card] = ()) -> None:
        """Write the merged files.

        Parameters
        ----------
        claims : sequence of Card
            QC keywords of the primary headers; the flags of all IFUs are added.
        """
        for (tag, number), parts in sorted(self._parts.items()):
            if not parts:
                continue
            parts.sort(key=lambda part: part.header.ifu)
            first = parts[0].header
            base = header_without(first.base, lambda key: OF_CHANNEL.match(key) is not None)
            flags = dict.fromkeys(card for part in parts for card in part.header.flags)
            cards = [*claims, *flags]
            index = number or None
            with self._ctx.stream(tag, base=base, used=first.used, qc=cards, index=index) as product:
                with product.path.open("wb") as stream:
                    header = product.header
                    stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
                    for part in parts:
                        with part.path.open("rb") as source:
                            shutil.copyfileobj(source, stream, 1 << 22)
