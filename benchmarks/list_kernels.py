# SPDX-License-Identifier: BSD-3-Clause
"""Write the list of the kernels that usual runs compile (``muse_core/framework/first_kernels.json``).

    python benchmarks/list_kernels.py

Each run is made in a process of its own with an empty cache, so this takes some minutes. To be done again
when kernels of muse_scipost have got other arguments; until then a first run compiles those alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from muse_core.framework import first_kernels

RUNS: dict[str, tuple[dict[str, object], ...]] = {
    "muse_scipost none": ({"skymethod": "none"}, {"skymethod": "none", "save": "combined,stacked"}),
    "muse_scipost simple": ({"skymethod": "simple"},),
    "muse_scipost model": (
        {"skymethod": "model"},
        {"skymethod": "model", "lsf": "table"},
    ),
}


def record(run: str, folder: Path) -> list[dict[str, Any]]:
    """Make the runs in this process; return what they have compiled."""
    from muse_core.framework import kernel_cache, run_recipe
    from muse_core.framework.kernels import Kernel, when_loaded
    from muse_core.simulate.scipost import simulate_scipost

    kernel_cache.write_to(folder / "kernels")
    first_kernels.MOST_HELPERS = 0  # what others compile is not seen here
    found: list[dict[str, Any]] = []
    listening = [False]

    def listen() -> None:
        from numba.core import event

        class Listener(event.Listener):
            depth = 0
            started = 0.0

            def on_start(self, _: event.Event) -> None:
                self.started = self.started if self.depth else time.thread_time()
                self.depth += 1

            def on_end(self, told: event.Event) -> None:
                self.depth -= 1
                function = told.data["dispatcher"].py_func
                home = getattr(sys.modules[function.__module__], function.__name__, None)
                if self.depth or not listening[0] or not isinstance(home, Kernel):
                    return
                try:
                    types = [first_kernels.described(kind) for kind in told.data["args"]]
                except first_kernels.UnlistedTypeError:
                    return
                name = f"{function.__module__}:{function.__name__}"
                seconds = round(time.thread_time() - self.started, 1)
                found.append({"kernel": name, "types": types, "seconds": seconds, "runs": [run]})

        event.register("numba:compile", Listener())

    when_loaded(listen)
    for number, options in enumerate(RUNS[run]):
        options = dict(options)
        listening[0] = False
        simulation = simulate_scipost(
            folder / f"in{number}", n_ifu=2, slices=6, columns=20, lambda_range=(6280.0, 6330.0), threads=2,
            lsf=str(options.pop("lsf", "image")),
        )  # fmt: skip
        out = folder / str(number)
        out.mkdir()
        listening[0] = True
        run_recipe("muse_scipost", simulation.frames(), {"save": "cube", **options}, workdir=out, threads=2)
    return found


def main() -> None:
    """Write the list, or with the name of a run its part of it to the standard output."""
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(record(sys.argv[1], Path(folder))))
        return
    merged: dict[str, dict[str, Any]] = {}
    for run in RUNS:
        done = subprocess.run([sys.executable, __file__, run], check=True, stdout=subprocess.PIPE, text=True)
        for entry in json.loads(done.stdout.splitlines()[-1]):
            known = merged.setdefault(json.dumps([entry["kernel"], entry["types"]]), entry)
            known["runs"] = sorted({*known["runs"], run})
    lines = [json.dumps(merged[key]) for key in sorted(merged)]
    first_kernels.LIST.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
