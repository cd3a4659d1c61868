# SPDX-License-Identifier: BSD-3-Clause
"""One run of a recipe: frames and parameters in, product files out, with nothing half-written left behind."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from muse_core.framework.admission import (
    assign_groups,
    check_counts,
    check_folder,
    check_room,
    check_targets,
    tell_unused,
    told,
)
from muse_core.framework.cleanup import release_all
from muse_core.framework.compiling import Compilations, announced
from muse_core.framework.context import RunContext, StreamedProduct
from muse_core.framework.delivery import final_names, working_folder
from muse_core.framework.errors import LimitError, LostWorkerError, RecipeError, WriteError, after_warnings
from muse_core.framework.faults import recipe_error
from muse_core.framework.first_kernels import run_name
from muse_core.framework.frames import Frame, Frames, ProductFrame
from muse_core.framework.input_files import GivenNames, InputFiles
from muse_core.framework.input_sums import compared_beside
from muse_core.framework.log import RepeatCounter, Strict, WarningKeeper, run_logger
from muse_core.framework.registry import LoadedRecipe, load
from muse_core.framework.resume import KeptResults
from muse_core.framework.settings import Environment, usable_kernel_cache
from muse_core.framework.spec import ParamValues, value_text
from muse_core.framework.work_plan import PlanMade, Planned


def run_recipe(
    recipe: str | LoadedRecipe,
    frames: Iterable[Frame | tuple[str | Path, str]],
    params: Mapping[str, object] | None = None,
    *,
    workdir: str | Path = ".",
    show_progress: bool = False,
    report: bool | None = None,
    sign_products: bool = True,
    strict: bool = False,
    resume: bool | None = None,
    plan_only: bool = False,
    threads: int | None = None,
    environment: Environment | None = None,
    handlers: Iterable[logging.Handler] = (),
    deliver_to: str | Path | None = None,
    product_prefix: str = "",
) -> list[ProductFrame]:
    """Run a recipe and return its products, in the order they were written.

    Parameters
    ----------
    recipe : name or loaded recipe
    frames : frames or (file, tag) pairs
    params : settings by alias or full name; what is left out keeps its default
    workdir : folder for the products; it gets all of them when the run is done, and nothing if it fails
    report : write the quality page; None leaves it to the environment
    strict : warnings that something is missing and is left out become errors
    resume : keep results for a run that goes on when this one is killed, and take those of one that was; None
        leaves it to the environment
    plan_only : log what the run would do, read, need and take, and end without products
    threads : worker threads; None leaves them to the environment
    environment : what the environment decides; None reads that of this process, once
    handlers : handlers of this run's log alone
    deliver_to, product_prefix : where the caller puts the products afterwards, and the prefix of the numbered
        names it gives them; no input of the run may be replaced there

    Raises
    ------
    ParameterError, InputError, RecipeError
        for everything a user can mend; the message says how
    WriteError, LimitError, LostWorkerError
        for what the disk, the machine or another process refused
    """
    loaded = load(recipe) if isinstance(recipe, str) else recipe
    spec = loaded.spec
    environment = environment or Environment.read()
    usable_kernel_cache()
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
        plan_only=plan_only,
    )
    if plan_only and not spec.plans:
        raise RecipeError(f"{spec.name} makes no plan of its work")
    counter = RepeatCounter()
    if strict:
        log.addFilter(Strict(context.problems))
    log.addFilter(counter)  # the logger belongs to this run alone
    kept = WarningKeeper()
    log.addHandler(kept)
    folder, place = context.workdir, Path(deliver_to or workdir)
    check_folder(folder)
    if environment.resume if resume is None else resume:
        context.kept = KeptResults(place, lambda: _identity(loaded, values, given, sign_products), log)
    # workers of a cluster are in folders of their own, where names have to mean the same
    elsewhere = bool(environment.cluster)
    try:
        with (
            working_folder(folder.absolute() if elsewhere else folder) as context.workdir,
            InputFiles(context.workdir, place) as files,
        ):
            context.destination = folder
            log.addFilter(GivenNames(files))
            with _in_plain_words(files, given, kept):
                known = assign_groups(spec, given, log)
                check_counts(spec, known, given, context.problems, log)
                check_targets(spec, values, given, place, product_prefix, context.problems)
                check_room(known, place, log)
                if elsewhere:
                    known = Frames(replace(frame, path=frame.path.absolute()) for frame in known)
                known = told(spec, files.admit(known, context.problems), log)
                _log_start(values, environment, log)
                context.kept.begin()
                watched = announced(log, run_name(spec.name, values), context.threads)
                sums = environment.sums and not plan_only and not context.problems
                with (
                    watched if spec.kernels else contextlib.nullcontext(Compilations(log)) as compiled,
                    compared_beside(known, values, log) if sums else contextlib.nullcontext(),
                ):
                    loaded.run(known, values, context)
                context.problems.raise_if_any()  # those that the recipe has not asked for
                _write_page(context, known, kept.texts, product_prefix)
                context.deliver()
                context.kept.end(keep=False)
                tell_unused(known, log)
                counter.report(log)
    except PlanMade:
        return []
    except BaseException as error:
        outside = isinstance(error, (WriteError, LimitError, LostWorkerError))
        context.kept.end(keep=outside or not isinstance(error, RecipeError))
        raise
    finally:
        context.dismiss()
        context.on_disk.close()
        context.workdir = folder
        release_all()
    wall, _, memory = context.clock.cost()
    log.info("%d products in %.1f s, peak memory %.0f MB", len(context.products), wall, memory)
    if context.plan is not None:
        _compare_with_plan(context, context.plan, wall, memory, learn=not compiled.count)
    return context.products


def _compare_with_plan(
    context: RunContext, planned: Planned, wall: float, memory: float, *, learn: bool
) -> None:
    """Say how near the plan came, and let later runs know how fast this machine is."""
    from muse_core.framework.work_plan import LEAST_SECONDS, WORTH_TELLING, Machine

    if max(wall, planned.total_seconds) >= WORTH_TELLING:
        written = sum(product.path.stat().st_size for product in context.products if product.path.is_file())
        context.log.info("%s", planned.compared(wall, memory, written))
    if learn and wall >= LEAST_SECONDS and not context.kept.taken and not context.cluster:
        machine = Machine.read()
        machine.learn(context.spec.name, planned.plan, context.clock.steps, context.threads)
        machine.write()


def _identity(loaded: LoadedRecipe, values: ParamValues, frames: Iterable[Frame], sign: bool) -> str:
    """Return the digest of all that the products of a run depend on."""
    from muse_core.framework.identity import file_identity, run_identity

    texts = {parameter.name: value_text(value) for parameter, value in values.items()}
    recipe = ":".join(map(str, file_identity(loaded.file)))
    return run_identity(loaded.spec.name, texts, frames, str(values.defects()), recipe, str(sign))


@contextlib.contextmanager
def _in_plain_words(files: InputFiles, given: Iterable[Frame], kept: WarningKeeper) -> Iterator[None]:
    """Have errors name the files that the user gave, and tell what the system refused as that."""
    try:
        yield
    except RecipeError as error:
        names = [str(frame.path) for frame in given]
        raise after_warnings(files.renamed(error), kept.texts, names) from None
    except (OSError, MemoryError, RuntimeError) as error:
        known = recipe_error(error)
        if known is None:
            raise
        raise files.renamed(known) from error


def _log_start(values: ParamValues, environment: Environment, log: logging.Logger) -> None:
    changed = {p.name: value_text(v) for p, v in values.items() if not values.is_default(p.name)}
    if changed:
        log.info("parameters: %s", ", ".join(f"{name}={value}" for name, value in changed.items()))
    for note in (*environment.notes, *values.notes):
        log.warning("%s", note)


def _write_page(context: RunContext, inputs: Frames, warnings: Iterable[str], prefix: str) -> None:
    """Write the quality page, and the record of the run for programs, if they are wanted.

    A fault of the page is a warning: it must not cost the products.
    """
    if not context.report_requested:
        return
    from muse_core.framework.record import record_of_run

    texts = {parameter.name: value_text(context.params[parameter.name]) for parameter in context.spec.params}
    record = record_of_run(
        context.spec.name,
        context.params,
        texts,
        inputs,
        context.products,
        final_names(context.products, prefix),
        context.clock,
        warnings,
    )
    context.write_beside(f"{context.spec.name}_run.json", record.json())
    if context.page is None:
        return
    try:
        html = context.page().html(record)
    except Exception as error:
        context.log.warning("the quality page could not be made: %s: %s", type(error).__name__, error)
        return
    context.write_beside(f"{context.spec.name}_report.html", html)


__all__ = ["RunContext", "StreamedProduct", "run_recipe"]
