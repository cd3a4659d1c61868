# SPDX-License-Identifier: BSD-3-Clause
"""Data of inputs against their DATASUM, compared by a thread beside the run that reads them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from muse_core.framework.checksums import changed_data, left_behind
from muse_core.framework.errors import RecipeError
from muse_core.framework.frames import Frame
from muse_core.framework.spec import ParamValues
from muse_core.framework.work_plan import available_memory

SHARE_OF_MEMORY = 0.25
"""Inputs above this share of the memory are not compared: beside what the run reads and writes they would not
stay there, and the disk would have to read them a second time."""

PATIENCE = 10.0
"""Seconds that a run which failed waits for what may be the cause."""


class InputSums:
    """The comparison: begun by `start`, ended by `finish` or `stop`; what was found is logged by `finish`."""

    def __init__(
        self, frames: Iterable[Frame], values: ParamValues, log: logging.Logger, room: float | None = None
    ) -> None:
        """Choose the files: the smallest first, as many as `room` bytes (a quarter of the memory) hold."""
        self.left_out: list[Path] = []
        self._values, self._log = values, log
        self._found: list[tuple[Path, str, int, int]] = []
        self._behind: list[tuple[Path, str, int]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._compare, name="sums of inputs", daemon=True)
        room = SHARE_OF_MEMORY * available_memory() if room is None else room
        self._paths: list[Path] = []
        for size, path in sorted((_size(path), path) for path in {frame.path for frame in frames}):
            room -= size
            (self._paths if room >= 0 else self.left_out).append(path)

    def start(self) -> None:
        """Begin to compare."""
        self._thread.start()

    def _compare(self) -> None:
        for path in self._paths:
            for unit, expected, found in changed_data(path, self._values.wants, self._stopped.is_set):
                self._found.append((path, unit, expected, found))
            self._behind += [(path, *behind) for behind in left_behind(path)]

    def finish(self, patience: float | None = None) -> None:
        """Wait for the rest, at most `patience` seconds, and warn of data that were damaged or edited."""
        self._thread.join(patience)
        self.stop()
        for path, unit, expected, found in sorted(self._found):
            self._log.warning(
                "%s: %s: expected data with DATASUM %d, found %d: they were changed or damaged after the "
                "file was written; if you did not edit it, copy or make it again",
                path, unit, expected, found,
            )  # fmt: skip
        for path, unit, size in sorted(self._behind):
            self._log.warning(
                "%s: %s: expected zeros behind the data, found %d bytes of others: the table or image seems "
                "to be larger than its NAXISn say; copy or make the file again",
                path, unit, size,
            )  # fmt: skip
        if self.left_out:
            self._log.info(
                "%d inputs of %d were not compared with their DATASUM, since they do not fit into the memory "
                "(musetools calib verify compares them)",
                len(self.left_out), len(self.left_out) + len(self._paths),
            )  # fmt: skip
        self._found, self._behind, self.left_out = [], [], []

    def stop(self) -> None:
        """End without a word."""
        self._stopped.set()
        self._thread.join()


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


@contextlib.contextmanager
def compared_beside(frames: Iterable[Frame], values: ParamValues, log: logging.Logger) -> Iterator[None]:
    """Compare inputs with their sums while the body runs, and warn at its end, whether it failed or not."""
    sums = InputSums(frames, values, log)
    sums.start()
    try:
        yield
    except RecipeError:
        sums.finish(PATIENCE)
        raise
    except BaseException:
        sums.stop()
        raise
    sums.finish()
