# SPDX-License-Identifier: BSD-3-Clause
"""What a recipe may ask of its surroundings while it runs; products are never half written."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from muse_core.framework.clock import Clock
from muse_core.framework.defects import Defects
from muse_core.framework.delivery import DiskQueue, deliver
from muse_core.framework.errors import Problems
from muse_core.framework.faults import write_error
from muse_core.framework.frames import Frame, ProductFrame
from muse_core.framework.log import UNDONE
from muse_core.framework.resume import KeptResults
from muse_core.framework.spec import ParamValues, RecipeSpec

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header, PrimaryHDU

    from muse_core.framework.products import Card, DataSums
    from muse_core.framework.record import RunRecord
    from muse_core.framework.team import Team
    from muse_core.framework.work_plan import Planned, WorkPlan

T = TypeVar("T")


class QualityPage(Protocol):
    """What a recipe hands to `RunContext.report`: it becomes HTML when the run is over."""

    def html(self, record: RunRecord) -> str:
        """Return the page as one self-contained HTML text."""
        ...


@dataclass
class StreamedProduct:
    """A product being written piece by piece: the temporary path and the finished primary header.

    A writer that knows the sums of its data leaves them in `sums`; else the file is read for them.
    """

    path: Path
    header: Header
    sums: DataSums | None = None


@dataclass
class RunContext:
    """What a recipe may ask of its surroundings: log, progress, limits, and a place for products.

    Products are made in `workdir`; at the end of the run `deliver` puts them into `destination`.
    """

    spec: RecipeSpec
    params: ParamValues
    workdir: Path
    log: logging.Logger
    defects: Defects = field(default_factory=Defects)
    threads: int = 1
    memory_bytes: int = 1_000_000_000
    cluster: str = ""
    report_requested: bool = False
    show_progress: bool = False
    flags: dict[str, Card] = field(default_factory=dict)
    sign_products: bool = True
    problems: Problems = field(default_factory=Problems)
    products: list[ProductFrame] = field(default_factory=list)
    destination: Path | None = None
    on_disk: DiskQueue = field(default_factory=DiskQueue)
    clock: Clock = field(default_factory=Clock)
    kept: KeptResults = field(default_factory=KeptResults)
    page: Callable[[], QualityPage] | None = None
    shown: dict[str, Any] = field(default_factory=dict)  # what only the quality page wants of the run
    plan_only: bool = False
    plan: Planned | None = None
    _part: dict[str, Card] | None = None
    _team: Team | None = None

    @property
    def team(self) -> Team:
        """Those who do the work: the threads of this process, or a cluster."""
        if self._team is None:
            if self.cluster:
                from muse_core.framework.cluster import Cluster

                self._team = Cluster(self.cluster, self.threads, self.log)
            else:
                from muse_core.framework.team import Threads

                self._team = Threads(self.threads)
        return self._team

    def dismiss(self) -> None:
        """Let go of the team."""
        if self._team is not None:
            self._team.close()
            self._team = None

    def progress(
        self,
        items: Iterable[T],
        label: str,
        total: int | None = None,
        size: Callable[[T], int] = lambda _: 1,
    ) -> Iterator[T]:
        """Yield the items; when a person watches a terminal, with a bar, per cent and the time left.

        Parameters
        ----------
        total : how much there is to do, if it is not the number of items
        size : how much of the total an item is
        """
        if not self.show_progress:
            yield from items
            return
        from muse_core.framework.progress import shown

        if total is None and isinstance(items, Sized):
            total = len(items)
        yield from shown(items, label, total, size=size)

    def flag(self, name: str, value: bool | str, comment: str) -> None:
        """Note what was done, or not, as a QC keyword of all products that follow.

        Within `part` it concerns the products of that part alone, and afterwards those of the whole: what the
        parts say is joined, of claims one "no" counts, of different texts "mixed". In compatible mode nothing
        is written, the C recipes have no such keywords.

        Parameters
        ----------
        name : the end of the keyword: ``CALIBRATED FLUX`` gives ``ESO QC SCIPOST CALIBRATED FLUX``
        """
        if self.defects:
            return
        prefix = self.spec.qc_prefix
        key = f"{prefix} {name.removeprefix(prefix.rpartition(' ')[2] + ' ')}"
        _join_flag(self.flags if self._part is None else self._part, (key, value, comment))

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Keep the flags of one exposure to its own products; they count for the whole when it is done."""
        self._part = {}
        try:
            yield
        finally:
            flags, self._part = self._part, None
            for card in flags.values():
                _join_flag(self.flags, card)

    def apart(self, log: logging.Logger) -> RunContext:
        """Return a context for a part that is made beside others: its products and flags are its own."""
        return replace(self, log=log, products=[], _part={})

    def join(self, apart: RunContext) -> None:
        """Take products and flags of a part that was made beside others."""
        self.products.extend(apart.products)
        for card in apart.flags_here.values():
            _join_flag(self.flags, card)

    def undone(self, flag: str, text: str, comment: str) -> None:
        """Warn that something is missing and therefore not done; an error in a strict run.

        Parameters
        ----------
        flag, comment : the QC keyword that products get with the value F, see `flag`
        text : the warning
        """
        self.log.warning("%s", text, extra=UNDONE)
        self.flag(flag, False, comment)

    def file_name(self, tag: str, index: int | tuple[int, int] | None) -> str:
        """Return the product's file name: TAG.fits, TAG_0001.fits of a series, or that of an IFU.

        The latter is TAG-24.fits, or TAG_0001-24.fits in a series.
        """
        if isinstance(index, tuple):
            return f"{tag}_{index[0]:04d}-{index[1]:02d}.fits"
        if self.spec.product(tag).by_ifu:
            return f"{tag}.fits" if index is None else f"{tag}-{index:02d}.fits"
        return f"{tag}_{index:04d}.fits" if self.spec.product(tag).series else f"{tag}.fits"

    def save(
        self,
        tag: str,
        hdus: HDUList,
        *,
        base: Header,
        used: Iterable[Frame],
        qc: Iterable[Card] = (),
        extra: Iterable[Card] = (),
        index: int | tuple[int, int] | None = None,
        keep: str = "all",
    ) -> ProductFrame:
        """Write a product from memory; see `stream` for the meaning of the parameters.

        The cards of the first HDU beyond the FITS structure are added after the inherited ones; its data
        (a mask, say) is kept.
        """
        from muse_core.framework.products import write_hdus

        own = [(c.keyword, c.value, c.comment) for c in hdus[0].header.cards if not _is_structure(c.keyword)]
        with self.stream(
            tag, base=base, used=used, qc=qc, extra=extra, own=own, index=index, keep=keep
        ) as product:
            bitpix = hdus[0].header["BITPIX"]
            hdus[0] = _primary_with(hdus[0], product.header)
            write_hdus(product.path, hdus, bitpix=bitpix)
        return self.products[-1]

    @contextlib.contextmanager
    def stream(
        self,
        tag: str,
        *,
        base: Header,
        used: Iterable[Frame],
        qc: Iterable[Card] = (),
        extra: Iterable[Card] = (),
        own: Iterable[Card] = (),
        index: int | tuple[int, int] | None = None,
        keep: str = "all",
        resumable: bool = False,
    ) -> Iterator[StreamedProduct]:
        """Give a temporary file and a primary header; on exit the file is verified, signed and renamed.

        Its units are brought to a spelling that readers of FITS files understand (`Product.c_units` are not).

        Every HDU written must hold the placeholders of
        `muse_core.framework.products.add_checksum_placeholders`.

        Parameters
        ----------
        base : Header
            header to inherit from (that of the first used raw frame)
        used : frames
            input frames that went into this product
        qc, extra, own : cards
            (keyword, value, comment); QC cards come last, before them those of the first HDU itself; what
            they say counts more than a `flag`, which is that of the run
        keep : {"all", "standard"}
            which inherited keywords stay
        resumable : bool
            keep the file for a run that goes on after it was killed, see `take_kept`

        Raises
        ------
        WriteError
            if the folder cannot be written or the disk is full
        """
        from muse_core.framework.products import add_checksum_placeholders, product_header, sign
        from muse_core.framework.unit_spelling import respell_file

        name = self.file_name(tag, index)
        qc = list(qc)
        flags = self.flags if self._part is None else self._part
        said = {card[0] for card in qc}
        header = product_header(
            self.spec,
            tag,
            self.params,
            base=base,
            used=list(used),
            filename=name,
            extra=extra,
            own=own,
            qc=[*qc, *(card for key, card in flags.items() if key not in said)],
            keep=keep,
        )
        add_checksum_placeholders(header)
        target = self.workdir / name
        # as no worker on another node names its own, which may make the same product
        temporary = self.workdir / f".{name}.{os.urandom(4).hex()}.part"
        try:
            product = StreamedProduct(temporary, header)
            yield product
            if not (self.defects.unreadable_units or self.spec.product(tag).c_units):
                respell_file(temporary)
            if self.sign_products:
                sign(temporary, product.sums)
            temporary.replace(target)
        except OSError as error:
            raise write_error(f"product {self._place / name}", error) from error
        finally:
            temporary.unlink(missing_ok=True)
        self.on_disk.add(target, self.kept.keep_file if resumable and self.kept.is_worth() else None)
        self.products.append(self._frame(target, tag))
        self.log.debug("wrote %s (%s)", name, tag)

    def take_kept(self, tag: str, index: int | tuple[int, int] | None = None) -> bool:
        """Take a product that an interrupted run has finished; False: it has to be made."""
        target = self.workdir / self.file_name(tag, index)
        if not self.kept.take_file(target):
            return False
        self.on_disk.add(target)
        self.products.append(self._frame(target, tag))
        return True

    @property
    def flags_here(self) -> dict[str, Card]:
        """The flags of the part that is being made, or of the whole."""
        return self.flags if self._part is None else self._part

    @property
    def _place(self) -> Path:
        """The folder in which the user will find the products."""
        return self.workdir if self.destination is None else self.destination

    def deliver(self) -> None:
        """Put everything that the run has made into the folder of the products: all of it, or nothing.

        Raises
        ------
        WriteError
            if that cannot be done, or something could not be forced to the disk
        """
        self.on_disk.wait()
        if self.destination is None:
            return
        made = sorted(path for path in self.workdir.iterdir() if not path.name.startswith("."))
        deliver([(path, self.destination / path.name) for path in made])
        self.products[:] = [
            replace(product, path=self.destination / product.path.name) for product in self.products
        ]

    def planned(self, plan: WorkPlan) -> None:
        """Take the plan of the run: refuse what the machine cannot hold, say what is to come.

        Raises
        ------
        PlanMade
            if the plan is all that was asked for
        LimitError, WriteError
            if memory or disk cannot hold the run
        """
        from muse_core.framework.work_plan import WORTH_TELLING, Machine, PlanMade, Planned, check_plan

        self.plan = Planned.of(self.spec.name, plan, self.threads, Machine.read())
        if self.plan_only:
            for line in self.plan.lines():
                self.log.info("%s", line)
        check_plan(plan, self.destination or self.workdir)
        if self.plan_only:
            raise PlanMade
        if self.plan.total_seconds >= WORTH_TELLING:
            self.log.info("%s", self.plan.short())

    def _frame(self, path: Path, tag: str) -> ProductFrame:
        declared = self.spec.product(tag)
        return ProductFrame(path, tag, declared.level, type=declared.type)

    def report(self, page: Callable[[], QualityPage]) -> None:
        """Keep how the quality page is described; it is written when all products are made."""
        self.page = page

    def write_beside(self, name: str, text: str) -> Path:
        """Write a text file beside the products, at once or not at all."""
        target = self.workdir / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise write_error(self._place / target.name, error) from error
        temporary.replace(target)
        self.on_disk.add(target)
        return target


def _join_flag(flags: dict[str, Card], card: Card) -> None:
    """Add a flag to others: of claims one "no" counts, of different texts "mixed"."""
    key, value, comment = card
    if key in flags:
        before = flags[key][1]
        if isinstance(value, bool):
            value = value and bool(before)
        elif value != before:
            value = "mixed"
    flags[key] = (key, value, comment)


def _primary_with(primary: PrimaryHDU, header: Header) -> PrimaryHDU:
    """Return a primary HDU with the data of `primary` and a product's header."""
    from astropy.io import fits

    for key in ("SIMPLE", "BITPIX", "NAXIS", "EXTEND"):
        header.remove(key, ignore_missing=True)
    result = fits.PrimaryHDU(primary.data, header)
    axes = f"NAXIS{result.header['NAXIS'] or ''}"
    result.header.set("EXTEND", True, "FITS dataset may contain extensions", after=axes)
    return result


def _is_structure(key: str) -> bool:
    return key in ("SIMPLE", "BITPIX", "EXTEND", "CHECKSUM", "DATASUM", "") or key.startswith("NAXIS")
