# SPDX-License-Identifier: BSD-3-Clause
"""A Dask cluster of processes on this machine, and what test files do with it alike."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import distributed
import numpy as np
from astropy.io import fits

from muse_core.framework import cluster, run_recipe


class Running:
    """A scheduler and its workers in processes of their own."""

    def __init__(self, folder, stack):
        self.file, self._folder, self._stack = folder / "scheduler.json", folder, stack
        self._log = stack.enter_context((folder / "log.txt").open("wb"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    def start(self, n_workers):
        where = ["--host", "127.0.0.1", "--port", str(self._port)]
        self.scheduler = self._process("scheduler", *where)
        self.workers = [self._process("worker", "--nthreads", "1", "--no-nanny") for _ in range(n_workers)]

    def _process(self, what, *options):
        command = [
            sys.executable,
            "-m",
            "dask",
            what,
            *options,
            "--no-dashboard",
            "--scheduler-file",
            self.file,
        ]
        process = subprocess.Popen(command, cwd=self._folder, stdout=self._log, stderr=self._log)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def wait(self):
        with distributed.Client(scheduler_file=str(self.file), timeout="60s", set_as_default=False) as client:
            if self.workers:
                client.wait_for_workers(len(self.workers), timeout=120)

    def restart(self):
        for process in (self.scheduler, *self.workers):
            process.kill()
            process.wait()
        self.file.unlink()
        self.start(len(self.workers))


def be_impatient(monkeypatch):
    """Times that suit a test."""
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 12.0)
    monkeypatch.setattr(cluster, "SILENT_SECONDS", 15.0)
    monkeypatch.setattr(cluster, "RETURN_SECONDS", 40.0)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.5)


@contextmanager
def running(folder, n_workers):
    with ExitStack() as stack:
        found = Running(folder, stack)
        found.start(n_workers)
        found.wait()
        yield found


def products_of(recipe, frames, folder, options):
    folder.mkdir()
    products = run_recipe(recipe, frames, options, workdir=folder, threads=2)
    return {product.path.name: product.path for product in products}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        with fits.open(one[name]) as a, fits.open(other[name]) as b:
            for x, y in zip(a, b, strict=True):
                if x.data is not None:
                    assert np.asarray(x.data).tobytes() == np.asarray(y.data).tobytes(), f"{name}[{x.name}]"
                ignored = ("CHECKSUM", "DATASUM", "DATE", "DATAMD5")
                cards = [[c for c in hdu.header.cards if c.keyword not in ignored] for hdu in (x, y)]
                assert [str(c) for c in cards[0]] == [str(c) for c in cards[1]], name


def forbidden(*_):
    raise AssertionError("the work was done here")
