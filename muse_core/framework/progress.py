# SPDX-License-Identifier: BSD-3-Clause
"""The progress of a long step on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


def shown(
    items: Iterable[T],
    label: str,
    total: int | None,
    console: Console | None = None,
    *,
    size: Callable[[T], int] = lambda _: 1,
) -> Iterator[T]:
    """Yield the items beside a line with a bar, the number done, per cent, and the time left.

    Parameters
    ----------
    total : how many items there will be; None if that is not known: the line shows what is done
    console : where to write; None takes standard error
    size : how much of the total an item is

    The line vanishes at the end, the log stays readable.
    """
    from rich.console import Console as RichConsole
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    if total is None:
        columns += [TimeElapsedColumn()]
    else:
        columns += [TaskProgressColumn(), TimeRemainingColumn(), TextColumn("left")]
    where = console or RichConsole(stderr=True)
    with Progress(*columns, console=where, transient=True) as progress:
        task = progress.add_task(label, total=total)
        for item in items:
            yield item
            progress.advance(task, size(item))
