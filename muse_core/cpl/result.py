# SPDX-License-Identifier: BSD-3-Clause
"""What a run gives back: products, messages, times, or an error."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muse_core.cpl import html
from muse_core.cpl.logger import LogList
from muse_core.framework.errors import did_you_mean
from muse_core.hosts.client import Outcome, WorkerError

_CODES = {
    "UNSPECIFIED": (1, "An unspecified error"),
    "FILE_NOT_FOUND": (9, "File not found"),
    "DATA_NOT_FOUND": (10, "Data not found"),
    "ILLEGAL_INPUT": (14, "Illegal input"),
}


@dataclass(frozen=True)
class Stat:
    """Status and cost of a run."""

    return_code: int
    user_time: float
    sys_time: float
    memory_is_empty: bool | None = None
    mtrace: str | None = None


class CplError(Exception):
    """A recipe that failed. Iterating gives this error and those that came before it."""

    def __init__(self, retval: int, errors: list[WorkerError], log: LogList) -> None:
        self.retval = retval
        self.log = log
        self.code: int | None = None
        self.msg: str | None = None
        self.file = self.function = None
        self.line: int | None = None
        self.next_error: CplError | None = None
        if errors:
            last = errors[-1]
            self.code, title = _CODES.get(last.code, _CODES["UNSPECIFIED"])
            self.msg = f"{title}: {last.text}"
            self.file, self.function, self.line = last.file, last.function, last.line
            self.next_error = CplError(retval, errors[:-1], log) if len(errors) > 1 else None
        super().__init__(retval)

    def __iter__(self) -> Iterator[CplError]:
        error: CplError | None = self
        while error is not None:
            yield error
            error = error.next_error

    def __str__(self) -> str:
        if self.code is None:
            return "Unspecified"
        return f"{self.msg} ({self.code}) in {self.function}() ({self.file}:{self.line})"


class RecipeCrash(Exception):  # noqa: N818  python-cpl's name
    """The recipe's process was ended by a signal."""

    signals = {number.value: number.name for number in signal.Signals}

    def __init__(self, number: int, log: LogList | None = None) -> None:
        self.signal = number
        self.log = log if log is not None else LogList()
        super().__init__(number)

    def __str__(self) -> str:
        return f"the recipe's process was ended by {self.signals.get(self.signal, 'signal')} ({self.signal})"


class Result:
    """Products of a run by attribute or ``[tag]``, one object or a list; file names if the folder is kept."""

    def __init__(
        self, folder: Path, outcome: Outcome, log: LogList, *, keep_files: bool, as_list: bool, stat: Stat
    ) -> None:
        self.dir = str(folder)
        self.log = log
        self.stat = stat
        self.error = CplError(outcome.status, outcome.errors, log) if outcome.errors else None
        found: dict[str, list[Any]] = {}
        for name, tag in outcome.products:
            path = (folder / name).absolute()
            found.setdefault(tag, []).append(str(path) if keep_files else _open(path))
        self._products = {
            tag: items[0] if len(items) == 1 and not as_list else items for tag, items in found.items()
        }
        self.tags = set(self._products)
        for tag, value in self._products.items():
            setattr(self, tag, value)

    def __getitem__(self, tag: str) -> Any:
        return self._products[tag]

    def __contains__(self, tag: str) -> bool:
        return tag in self._products

    def __len__(self) -> int:
        return len(self._products)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._products.items())

    def _shown(self, tag: str) -> str:
        value = self._products[tag]
        several = isinstance(value, list) and not hasattr(value, "writeto")
        names = [str(_file_name(one)) for one in (value if several else [value])]
        return ", ".join(names)

    def __repr__(self) -> str:
        products = "; ".join(f"{tag}: {self._shown(tag)}" for tag in self._products)
        return f"Result({len(self)} products: {products})"

    def _repr_html_(self) -> str:
        rows = [(tag, self._shown(tag)) for tag in self._products]
        messages = [(record.levelname, record.getMessage()) for record in self.log if record.levelno > 20]
        return html.table("products", ("tag", "file"), rows) + (
            html.table("warnings", ("level", "message"), messages) if messages else ""
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"the run made no product {name!r}{did_you_mean(name, self._products)}")


def _file_name(product: Any) -> str:
    if isinstance(product, str):
        return product
    return str(product[0].header.get("PIPEFILE", "HDUList"))


def _open(path: Path) -> Any:
    from astropy.io import fits

    return fits.open(path, mode="update", memmap=True)
