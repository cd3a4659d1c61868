# SPDX-License-Identifier: BSD-3-Clause
"""One run of a recipe: frames and parameters in, product files out, with nothing half-written left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from muse_core.framework.cleanup import release_all
from muse_core.framework.defects import Defects
from muse_core.framework.errors import Problems, RecipeError
from muse_core.framework.frames import Frame, Frames, ProductFrame
from muse_core.framework.log import RepeatCounter, run_logger
from muse_core.framework.registry import LoadedRecipe, load
from muse_core.framework.settings import Environment
from muse_core.framework.spec import ParamValues, RecipeSpec, value_text

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header, PrimaryHDU

    from muse_core.framework.products import Card, DataSums

T = TypeVar("T")


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
    """What a recipe may ask of its surroundings: log, progress, limits, and a place for products."""

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
    sign_products: bool = True
    problems: Problems = field(default_factory=Problems)
    products: list[ProductFrame] = field(default_factory=list)

    @property
    def compat(self) -> bool:
        """Tell whether the run repeats the defects of the C recipe."""
        return bool(self.defects)

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Yield the items, with a progress bar when a person watches a terminal."""
        if not self.show_progress:
            yield from items
            return
        from rich.console import Console
        from rich.progress import track

        if total is None and isinstance(items, Sized):
            total = len(items)
        console = Console(stderr=True)
        yield from track(items, label, total=total, console=console, transient=True)

    def file_name(self, tag: str, index: int | None) -> str:
        """Return the product's file name: TAG.fits, or TAG_0001.fits for a series."""
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
        index: int | None = None,
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
        index: int | None = None,
        keep: str = "all",
    ) -> Iterator[StreamedProduct]:
        """Give a temporary file and a primary header; on exit the file is verified, signed and renamed.

        Every HDU written must hold the placeholders of
        `muse_core.framework.products.add_checksum_placeholders`.

        Parameters
        ----------
        base : Header
            header to inherit from (that of the first used raw frame)
        used : frames
            input frames that went into this product
        qc, extra, own : cards
            (keyword, value, comment); QC cards come last, before them those of the first HDU itself
        keep : {"all", "standard"}
            which inherited keywords stay

        Raises
        ------
        RecipeError
            if the folder cannot be written or the disk is full
        """
        from muse_core.framework.products import add_checksum_placeholders, product_header, sign

        name = self.file_name(tag, index)
        header = product_header(
            self.spec,
            tag,
            self.params,
            base=base,
            used=list(used),
            filename=name,
            extra=extra,
            own=own,
            qc=qc,
            keep=keep,
        )
        add_checksum_placeholders(header)
        target = self.workdir / name
        temporary = self.workdir / f".{name}.{os.getpid()}.part"
        try:
            product = StreamedProduct(temporary, header)
            yield product
            if self.sign_products:
                sign(temporary, product.sums)
            temporary.replace(target)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RecipeError(
                f"product {target} could not be written: {reason}; check free space and permissions"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        self.products.append(ProductFrame(target, tag, self.spec.product(tag).level))
        self.log.debug("wrote %s (%s)", name, tag)

    def report(self, html: str | Path) -> None:
        """Write the recipe's quality page ``<recipe>_report.html`` beside the products."""
        text = html.read_text(encoding="utf-8") if isinstance(html, Path) else html
        target = self.workdir / f"{self.spec.name}_report.html"
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)


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


def assign_groups(spec: RecipeSpec, frames: Iterable[Frame], log: logging.Logger) -> Frames:
    """Give each frame the group its tag has in this recipe; unknown tags are left out with a message."""
    known = []
    for frame in frames:
        declared = spec.input_for(frame.tag)
        if declared is None:
            log.debug("%s: tag %r is not an input of %s, ignored", frame.path, frame.tag, spec.name)
            continue
        known.append(replace(frame, tag=declared.tag, group=declared.group))
    return Frames(known)


def check_counts(
    spec: RecipeSpec, frames: Frames, given: int, problems: Problems, log: logging.Logger
) -> None:
    """Note missing input tags as faults; for more files than a tag takes warn (the first ones are used)."""
    for declared in spec.inputs:
        count = len(frames[declared.tag])
        if count < declared.min:
            problems.add(
                "",
                f"input {declared.tag}",
                expected=f"at least {declared.min} frame{'s' if declared.min > 1 else ''} with this tag",
                found=f"{count} among {given} frames given",
                remedy="Check the tags in the set-of-frames file.",
            )
        elif declared.max is not None and count > declared.max:
            log.warning(
                "%d frames with tag %s given, only the first %d used", count, declared.tag, declared.max
            )


def run_recipe(
    recipe: str | LoadedRecipe,
    frames: Iterable[Frame | tuple[str | Path, str]],
    params: Mapping[str, object] | None = None,
    *,
    workdir: str | Path = ".",
    show_progress: bool = False,
    report: bool | None = None,
    sign_products: bool = True,
    threads: int | None = None,
    environment: Environment | None = None,
    handlers: Iterable[logging.Handler] = (),
) -> list[ProductFrame]:
    """Run a recipe and return its products, in the order they were written.

    Parameters
    ----------
    recipe : name or loaded recipe
    frames : frames or (file, tag) pairs
    params : settings by alias or full name; what is left out keeps its default
    workdir : folder for the products
    report : write the quality page; None leaves it to the environment
    threads : worker threads; None leaves them to the environment
    environment : what the environment decides; None reads that of this process, once
    handlers : handlers of this run's log alone

    Raises
    ------
    ParameterError, InputError, RecipeError
        for everything a user can mend; the message says how
    """
    loaded = load(recipe) if isinstance(recipe, str) else recipe
    spec = loaded.spec
    environment = environment or Environment.read()
    log = run_logger(spec.name, handlers)
    given = [frame if isinstance(frame, Frame) else Frame(Path(frame[0]), frame[1]) for frame in frames]
    values = spec.values(params, environment.variables)
    context = RunContext(
        spec=spec,
        params=values,
        workdir=Path(workdir),
        log=log,
        defects=values.defects(),
        threads=threads or environment.threads,
        memory_bytes=environment.memory_bytes,
        cluster=environment.cluster,
        report_requested=environment.report if report is None else report,
        show_progress=show_progress,
        sign_products=sign_products,
    )
    counter = RepeatCounter()
    log.addFilter(counter)  # the logger belongs to this run alone
    started = time.monotonic()
    try:
        _check_workdir(context)
        known = assign_groups(spec, given, log)
        check_counts(spec, known, len(given), context.problems, log)
        changed = {p.name: value_text(v) for p, v in values.items() if not values.is_default(p.name)}
        if changed:
            log.info("parameters: %s", ", ".join(f"{name}={value}" for name, value in changed.items()))
        for note in values.notes:
            log.warning("%s", note)
        loaded.run(known, values, context)
        counter.report(log)
    except MemoryError as error:
        raise RecipeError(
            "out of memory; lower MUSE_RECIPES_MEMORY (in MB) or the number of threads"
        ) from error
    finally:
        release_all()
    log.info("%d products in %.1f s, peak memory %.0f MB", len(context.products), *_cost(started))
    return context.products


def _cost(started: float) -> tuple[float, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return time.monotonic() - started, peak / (1e6 if sys.platform == "darwin" else 1e3)


def _check_workdir(context: RunContext) -> None:
    if not context.workdir.is_dir():
        raise RecipeError(
            f"the output folder {context.workdir} does not exist; create it or choose another one"
        )
    if not os.access(context.workdir, os.W_OK):
        raise RecipeError(f"the output folder {context.workdir} cannot be written; check its permissions")


__all__ = ["RunContext", "StreamedProduct", "assign_groups", "check_counts", "run_recipe"]
