# SPDX-License-Identifier: BSD-3-Clause
"""Finished planes of a cube that a run finds when it goes on after it was killed.

The file of the cube has a second name in the folder of kept results, and a journal says which planes are in
it, with the sums of their words. A run that goes on works in the same file: it reads the planes back as long
as their sums are right (after a power cut some may not be on the disk) and makes the others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muse_core.resampling.cube_file import word_sum
from muse_core.resampling.plan import Slab

if TYPE_CHECKING:
    from muse_core.framework.resume import Journal, KeptResults
    from muse_core.resampling.cube_file import CubeWriter

NAME = "planes"
Layout = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class PlaneRecord:
    """What the journal says of a slab whose planes are in the file.

    Parameters
    ----------
    first, count : the planes
    words : sums of the words of each image of the file
    more : what else the slab holds
    """

    first: int
    count: int
    words: tuple[int, ...]
    more: dict[str, Any]


def layout_of(writer: CubeWriter) -> Layout:
    """Return where the data of each image begin, and their shapes."""
    return tuple((image.data_start, image.shape) for image in writer.images)


class KeptPlanes:
    """The planes of one cube: those of a killed run are given back, those that are made are noted.

    Parameters
    ----------
    kept : what the run keeps
    """

    def __init__(self, kept: KeptResults) -> None:
        self._kept = kept
        self._writer: CubeWriter | None = None
        self._old: Journal | None = None
        self._records: list[PlaneRecord] = []
        self._new: Journal | None = None
        self._noted: list[PlaneRecord] = []
        self._layout: Layout = ()
        found = [(journal, journal.records()) for journal in kept.journals(NAME)]
        found.sort(key=lambda pair: len(pair[1]), reverse=True)
        for number, (journal, records) in enumerate(found):
            if number == 0 and len(records) > 1:
                self._old, (self._layout, *self._records) = journal, records
            else:
                journal.remove()

    @property
    def found(self) -> bool:
        """Tell whether a killed run has left planes."""
        return self._old is not None

    def adopt(self, path: Path) -> bool:
        """Give the unfinished file of the killed run the path of the new one; False if there is none."""
        if self._old is None:
            return False
        try:
            path.unlink(missing_ok=True)
            os.link(self._old.part, path)
        except OSError:
            self._drop_old()
            return False
        return True

    def _drop_old(self) -> None:
        if self._old is not None:
            self._old.remove()
        self._old, self._records = None, []

    def attach(self, writer: CubeWriter) -> None:
        """Take the file that is being written; if its layout is another one, nothing is taken over."""
        self._writer = writer
        if self._old is not None and layout_of(writer) != self._layout:
            self._drop_old()

    def then(self, make: Callable[[int], Iterator[Slab]]) -> Iterator[Slab]:
        """Yield the slabs that are in the file, and those from the first missing plane on.

        Parameters
        ----------
        make : gives the slabs from a plane on
        """
        done = 0
        for slab in self._slabs():
            yield slab
            done = slab.first + len(slab.data)
        yield from make(done)

    def _slabs(self) -> Iterator[Slab]:
        if self._writer is None or not self._records:
            return
        images = self._writer.images
        done = 0
        for record in self._records:
            if record.first != done:
                return
            end = done + record.count
            planes = [image.read_rows(done, end) for image in images]
            words = tuple(word_sum(part, done * image.row_size) for part, image in zip(planes, images))
            if words != record.words:
                return
            yield Slab(done, planes[0], planes[1], stored=True, **record.more)
            done = end

    def note(self, slab: Slab, words: tuple[int, ...]) -> None:
        """Note a slab whose planes are in the file, with the sums of their words."""
        writer = self._writer
        if writer is None:
            return
        more: dict[str, Any] = {
            "flagged": slab.flagged,
            "cosmics": slab.cosmics,
            "disagreeing": slab.disagreeing,
        }
        for name in ("sums", "with_flagged", "exposures", "hits"):
            if getattr(slab, name) is not None:
                more[name] = getattr(slab, name)
        record = PlaneRecord(slab.first, len(slab.data), words, more)
        if self._new is None:
            self._noted.append(record)
            if self._old is None and not self._kept.is_worth():
                return
            self._new = self._kept.new_journal(NAME, writer.path)
            if self._new is None:  # not possible here
                self._writer, self._noted = None, []
                return
            waiting: list[object] = [layout_of(writer), *self._noted]
        else:
            waiting = [record]
        try:
            for item in waiting:
                self._new.append(item)
        except OSError:
            self._writer = None
            return
        self._noted = []
        if self._old is not None and record.first + record.count >= self._end_of_old():
            self._drop_old()

    def _end_of_old(self) -> int:
        last = self._records[-1]
        return last.first + last.count

    def close(self) -> None:
        """Let go of the journals; they stay, for a run that goes on."""
        for journal in (self._old, self._new):
            if journal is not None:
                with contextlib.suppress(OSError):
                    journal.close()
