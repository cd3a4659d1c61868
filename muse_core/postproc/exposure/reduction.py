# SPDX-License-Identifier: BSD-3-Clause
"""An exposure on its way through the steps: files, the header so far, and the chain of corrections to apply.

Steps are fitted once and appended; rows are read only when somebody asks for them, and then run through the
chain. No step sees more than one block, so memory does not grow with the exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.exposure import PLACES, Exposure
from muse_core.data.header_values import seven_digits
from muse_core.postproc.exposure.row_limits import RowLimits, find_limits
from muse_core.resampling.pipeline import in_order

if TYPE_CHECKING:
    import logging
    from pathlib import Path

    from astropy.io.fits import BinTableHDU, HDUList, Header

    from muse_core.framework import Frame

CHUNK_ROWS = 1 << 19
_ROUNDING_A = 0.01  # more than float32 wavelengths lose when they are multiplied
PIXTABLE = "ESO DRS MUSE PIXTABLE"


@dataclass(frozen=True)
class Step:
    """One fitted correction.

    Parameters
    ----------
    name : str
    apply : callable
        changes a block in place
    moves : bool
        it changes positions or wavelengths (only such steps matter for the limits of the data)
    stretch : float
        factor it applies to wavelengths, the only way in which a step may change them
    """

    name: str
    apply: Callable[[Block], None]
    moves: bool = False
    stretch: float = 1.0


@dataclass(frozen=True)
class PendingProduct:
    """A product of an exposure that is written when all its steps are known.

    Parameters
    ----------
    tag : str
    hdus : HDUList
    qc : list of (keyword, value, comment)
    base : Header or None
        header to inherit from; None = that of the exposure when it is written, with its WCS if `with_wcs`
    """

    tag: str
    hdus: HDUList
    qc: list
    base: Header | None = None
    with_wcs: bool = False


@dataclass(frozen=True)
class Overridden:
    """A header with some values replaced (MUSE_SUPERFLAT_POS), for the steps that only read."""

    header: Header
    values: dict[str, float]

    def get(self, key: str, default: object = None) -> object:
        """Return the replaced or the original value of a keyword."""
        return self.values[key] if key in self.values else self.header.get(key, default)


@dataclass
class Reduction:
    """One exposure with the steps fitted so far.

    Parameters
    ----------
    number : int
        1, 2, ... in the order of the observations
    exposure : Exposure
    header : Header
        header of the merged table, updated by each step
    frames : tuple of Frame
        the pixel tables it came from
    data_unit : str
    threads : int
    reference_limits : RowLimits or None
        limits before the refraction correction, to which the astrometry refers
    overrides : dict
        header values replaced for the steps (not in products)
    sorted_slices : bool
        saved tables have the rows of each slice in order of wavelength, as the C recipe leaves them after
        skymethod=simple
    """

    number: int
    exposure: Exposure
    header: Header
    frames: tuple[Frame, ...]
    log: logging.Logger
    data_unit: str = "count"
    position_unit: str = "pix"
    threads: int = 1
    reference_limits: RowLimits | None = None
    sorted_slices: bool = False
    overrides: dict[str, float] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    pending: list[PendingProduct] = field(default_factory=list)
    _limits: tuple[tuple, RowLimits] | None = field(default=None, repr=False)
    tables: list[BinTableHDU] = field(default_factory=list)

    def __post_init__(self) -> None:
        state = str(self.header.get(f"{PIXTABLE} WCS", ""))
        self._polar = self.position_unit == "rad" or state.startswith("projected")

    def append_tables(self, path: Path) -> None:
        """Append the extra table extensions of the exposure to a pixel-table file."""
        from io import BytesIO

        from astropy.io import fits

        from muse_core.framework.products import add_checksum_placeholders

        if not self.tables:
            return
        buffer = BytesIO()
        tables = [table.copy() for table in self.tables]
        for table in tables:
            add_checksum_placeholders(table.header)
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(buffer)
        with path.open("ab") as stream:  # the file itself stays untouched: its header is finished
            stream.write(buffer.getvalue()[2880:])

    def add(self, step: Step) -> None:
        """Append a fitted step."""
        self.steps.append(step)

    @property
    def pointing(self) -> Overridden:
        """The header with the pointing that refraction, airmass and rotation are computed for."""
        return Overridden(self.header, self.overrides)

    @property
    def stretch(self) -> float:
        """Factor between wavelengths in the files and now."""
        return float(np.prod([step.stretch for step in self.steps]))

    def run(self, block: Block) -> Block:
        """Apply all steps to a block, in place."""
        for step in self.steps:
            step.apply(block)
        return block

    def gather(self, low: float, high: float) -> Block:
        """Return the reduced rows of a wavelength interval (given in present wavelengths)."""
        factor = self.stretch
        margin = _ROUNDING_A if factor != 1.0 else 0.0
        return self.exposure.gather(low / factor - margin, high / factor + margin, self.run)

    def blocks(self) -> Iterator[Block]:
        """Yield all reduced rows in table order (or in the order of `sorted_slices`)."""

        def work(piece: tuple[int, int, int]) -> Block:
            if not self.sorted_slices:
                return self.exposure.read_range(piece, work=self.run)
            block = self.exposure.read_range(piece)
            block = block.select(np.argsort(block.lam, kind="stable"))
            self.run(block)
            return block

        pieces = (
            self.exposure.slice_ranges() if self.sorted_slices else self.exposure.chunk_ranges(CHUNK_ROWS)
        )
        for block in in_order(work, iter(pieces), self.threads):
            if len(block):
                yield block

    def map_blocks(self, work: Callable[[Block], object]) -> Iterator:
        """Yield ``work(block)`` for all reduced rows, computed on threads, in table order."""

        def one(piece: tuple[int, int, int]) -> object:
            return work(self.exposure.read_range(piece, work=self.run))

        yield from in_order(one, iter(self.exposure.chunk_ranges(CHUNK_ROWS)), self.threads)

    def map_selected(
        self, select: Callable[[Block], npt.NDArray[np.bool_]], work: Callable[[Block], object]
    ) -> Iterator:
        """Yield ``work(block)`` for the reduced rows that ``select`` takes by their final positions.

        Steps that move no rows are applied to the chosen rows only, and may still flag some of them.
        """
        n_moving = max((n for n, step in enumerate(self.steps, 1) if step.moves), default=0)

        def move(block: Block) -> None:
            for step in self.steps[:n_moving]:
                step.apply(block)

        def one(piece: tuple[int, int, int]) -> object:
            block = self.exposure.read_range(piece, work=move)
            block = block.select(select(block))
            for step in self.steps[n_moving:]:
                step.apply(block)
            return work(block)

        yield from in_order(one, iter(self.exposure.chunk_ranges(CHUNK_ROWS)), self.threads)

    def scan(self, work: Callable[[Block], None], columns: frozenset[str] = PLACES) -> None:
        """Call ``work(block)`` on threads for all rows as in the files (some columns), in any order."""

        def one(piece: tuple[int, int, int]) -> None:
            work(self.exposure.read_range(piece, columns=columns))

        for _ in in_order(one, iter(self.exposure.chunk_ranges(CHUNK_ROWS)), self.threads):
            pass

    def limits(self) -> RowLimits:
        """Return the present limits of the rows; only steps that move rows are run.

        Several steps ask between two moves; the limits are found once.
        """
        moving = [step.apply for step in self.steps if step.moves]
        state = (len(moving), self.exposure.cut)
        if self._limits is None or self._limits[0] != state:
            smooth = not self._polar and self.position_unit != "rad"
            limits = find_limits(self.exposure, moving, self.threads, smooth=smooth)
            self._limits = (state, limits)
        return self._limits[1]

    def narrow(self, low: float, high: float) -> None:
        """Remove the rows outside a wavelength range given in the wavelengths of the files."""
        self.exposure = self.exposure.narrowed(low, high, self.threads)

    def set_card(self, key: str, value: object, comment: str = "") -> None:
        """Set a keyword of the header."""
        from muse_core.framework.products import set_card

        set_card(self.header, key, value, comment)


def without_pixtable_keys(header: Header) -> Header:
    """Return a copy of a header without the keywords of the pixel table, to be inherited by a product."""
    copy = header.copy()
    for key in [key for key in copy if key.startswith(PIXTABLE)]:
        del copy[key]
    return copy


def limit_cards(limits: RowLimits) -> list[tuple[str, object, str]]:
    """Return the LIMITS keywords of a pixel table."""
    cards: list[tuple[str, object, str]] = []
    for name, pair in (("X", limits.x), ("Y", limits.y), ("LAMBDA", limits.lam)):
        cards += [
            (f"{PIXTABLE} LIMITS {name} {end}", seven_digits(value), "")
            for end, value in zip(("LOW", "HIGH"), pair)
        ]
    for name, numbers in (("IFU", limits.ifu), ("SLICE", limits.slices)):
        cards += [
            (f"{PIXTABLE} LIMITS {name} {end}", number, "") for end, number in zip(("LOW", "HIGH"), numbers)
        ]
    return cards
