# SPDX-License-Identifier: BSD-3-Clause
"""Many MUSE images at once: iterators over the results of worker processes.

A worker is an interpreter of its own (``python -m imphot.worker_process``) that talks pickles over its
pipes.  So nothing depends on how the calling program was started: scripts without a main guard, notebooks
and tests will do.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from .errors import UserError, WorkerError
from .worker_pool import return_worker, take_worker

__all__ = [
    "FitImageAndStarPhotometryMP",
    "FitImagePhotometryMP",
    "FitStarPhotometryMP",
    "JobIterator",
    "number_of_workers",
]

_log = logging.getLogger("imphot")


def number_of_workers(n, jobs=None):
    """Number of processes: n, one per CPU for 0, all CPUs but n for a negative number; never more than
    jobs.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    count = n if n > 0 else cpus + n
    count = max(count, 1)
    return count if jobs is None else max(min(count, jobs), 1)


class JobIterator:
    """Iterator over the results of calls made in worker processes, in the order of the calls.

    Parameters
    ----------
    calls : sequence of (str, tuple, dict)
        name of a function of imphot ("module:function" for one that the package does not export),
        arguments, keywords
    nworker : int
        processes; 0: one per CPU, -n: all CPUs but n
    """

    _closed = True

    def __init__(self, calls, nworker=0):
        self._local = threading.local()
        self._workers, self._lock = [], threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=number_of_workers(nworker, len(calls)))
        self._closed = False
        self._jobs = [self._pool.submit(self._work, call) for call in calls]
        self._next = 0

    def _work(self, job):
        worker = getattr(self._local, "worker", None)
        if worker is None or worker.process.poll() is not None:
            worker = self._local.worker = take_worker()
            with self._lock:
                self._workers.append(worker)
        return worker.call(job)

    def __iter__(self):
        return self

    def __len__(self):
        return len(self._jobs)

    def __next__(self):
        """The result of the next image, in the order of the files."""
        if self._closed or self._next >= len(self._jobs):
            self.close()
            raise StopIteration
        kind, value, traceback, notes = self._jobs[self._next].result()
        self._next += 1
        for level, text in notes:
            _log.log(level, "%s", text)
        if kind == "user":
            raise UserError(value)
        if kind == "error":
            raise WorkerError(value, traceback)
        return value

    next = __next__

    def __enter__(self):
        return self

    def __exit__(self, *_details):
        self.close()
        return False

    def __del__(self):
        if not sys.is_finalizing():  # workers end by themselves with this program
            self.close()

    def close(self):
        """End the worker processes; called at the end of the iteration and of a with block."""
        if self._closed:
            return
        self._closed = True
        for job in self._jobs:
            job.cancel()
        unfinished = any(not job.done() for job in self._jobs)
        if unfinished:
            for worker in self._workers:
                worker.fresh = True  # it is not to be replaced
                worker.process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            if unfinished:
                worker.close()
            else:
                return_worker(worker)


class _FitPhotometryMP(JobIterator):
    """Iterator over the results of one function for many MUSE images."""

    _function = ""

    def __init__(self, hst_filename, muse_filenames, kwargs=None, nworker=0):
        names = [muse_filenames] if isinstance(muse_filenames, (str, os.PathLike)) else list(muse_filenames)
        for what, name in [("HST", hst_filename), *(("MUSE", name) for name in names)]:
            if isinstance(name, (str, os.PathLike)) and not os.access(name, os.R_OK):
                raise UserError(f"Error reading {what} file: {os.fspath(name)}")
        kwargs = dict(kwargs or {})
        if "hst" in kwargs or "muse" in kwargs:
            raise UserError("The images are given by file name, not in kwargs")
        self._names = names
        super().__init__([(self._function, (hst_filename, name), kwargs) for name in names], nworker)

    def __next__(self):
        """The result of the next image, in the order of the files."""
        position = self._next
        try:
            return super().__next__()
        except UserError as err:
            name = self._names[position]
            if isinstance(name, (str, os.PathLike)):
                raise UserError(f"{os.fspath(name)}: {err}") from None
            raise

    next = __next__


class FitImagePhotometryMP(_FitPhotometryMP):
    """Run `fit_image_photometry` on many MUSE images and one HST image.

    Parameters
    ----------
    hst_filename : str
        HST image
    muse_filenames : sequence of str
        MUSE images
    kwargs : dict
        keywords of `fit_image_photometry`
    nworker : int
        processes; 0: one per CPU, -n: all CPUs but n
    """

    _function = "fit_image_photometry"

    def __init__(self, hst_filename, muse_filenames, kwargs={}, nworker=0):  # noqa: B006 - the documented default
        super().__init__(hst_filename, muse_filenames, kwargs, nworker)


class _NeedsStar(_FitPhotometryMP):
    def __init__(self, hst_filename, muse_filenames, kwargs, nworker=0):
        if "star" not in kwargs:
            raise UserError("The keyword star=(ra, dec, radius) is missing in kwargs")
        super().__init__(hst_filename, muse_filenames, kwargs, nworker)


class FitStarPhotometryMP(_NeedsStar):
    """Run `fit_star_photometry` on many MUSE images; kwargs must hold star."""

    _function = "fit_star_photometry"


class FitImageAndStarPhotometryMP(_NeedsStar):
    """Run `fit_image_and_star_photometry` on many MUSE images; kwargs must hold star."""

    _function = "fit_image_and_star_photometry"
