# SPDX-License-Identifier: BSD-3-Clause
"""Products of all IFUs in one file (``merge``): extensions are kept on disk until the last IFU is there.

Each IFU keeps its own, wherever it is made; those of IFUs that succeed are joined.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from muse_core.detector.headers import OF_CHANNEL, HeaderOfIfu
from muse_core.framework.execution import RunContext
from muse_core.framework.products import Card, header_without
from muse_core.framework.spec import ParamValues


def is_merged(p: ParamValues) -> bool:
    """Whether products are merged: a run of one IFU has its own files all the same (as in 2.8.7)."""
    return bool(p.merge) and p.nifu in (0, -1)


@dataclass(frozen=True)
class ExtensionPart:
    """Extensions of one IFU in a file of their own.

    Attributes
    ----------
    tag : str
        Of the product.
    number : int
        Of the product in a series, or 0.
    header : HeaderOfIfu
    path : Path
    """

    tag: str
    number: int
    header: HeaderOfIfu
    path: Path


@dataclass
class ExtensionParts:
    """Extensions of an IFU, or of all of them."""

    parts: list[ExtensionPart] = field(default_factory=list)

    def close(self) -> None:
        """Remove the parts."""
        for part in self.parts:
            part.path.unlink(missing_ok=True)
        self.parts.clear()

    def part(self, tag: str, header: HeaderOfIfu, number: int, ctx: RunContext) -> BinaryIO:
        """Open a file for the extensions of one IFU; ``number`` is that of the product in a series."""
        descriptor, name = tempfile.mkstemp(prefix=f".{tag}.", suffix=".part", dir=ctx.workdir)
        self.parts.append(ExtensionPart(tag, number, header, Path(name)))
        return os.fdopen(descriptor, "wb")

    def take(self, parts: Iterable[ExtensionPart]) -> None:
        """Add those of an IFU."""
        self.parts.extend(parts)

    def finish(self, ctx: RunContext, claims: Sequence[Card] = ()) -> None:
        """Write the merged files.

        Parameters
        ----------
        ctx : RunContext
        claims : sequence of Card
            QC keywords of the primary headers; the flags of all IFUs are added.
        """
        products: dict[tuple[str, int], list[ExtensionPart]] = {}
        for part in self.parts:
            products.setdefault((part.tag, part.number), []).append(part)
        for (tag, number), parts in sorted(products.items()):
            parts.sort(key=lambda part: part.header.ifu)
            first = parts[0].header
            base = header_without(first.base, lambda key: OF_CHANNEL.match(key) is not None)
            flags = dict.fromkeys(card for part in parts for card in part.header.flags)
            cards = [*claims, *flags]
            index = number or None
            with ctx.stream(tag, base=base, used=first.used, qc=cards, index=index) as product:
                with product.path.open("wb") as stream:
                    header = product.header
                    stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
                    for part in parts:
                        with part.path.open("rb") as source:
                            shutil.copyfileobj(source, stream, 1 << 22)
