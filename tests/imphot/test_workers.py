# SPDX-License-Identifier: BSD-3-Clause
"""Iterators over the results of worker processes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import imphot
from muse_core.framework import InputError, RecipeError, workers
from muse_core.framework.workers import number_of_workers

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.unit
def test_image_iterator(pair):
    one = imphot.fit_image_photometry(*pair, method="image", fix_beta=2.5)
    with imphot.FitImagePhotometryMP(
        pair[0], [pair[1]] * 3, {"method": "image", "fix_beta": 2.5}, nworker=2
    ) as fits:
        assert iter(fits) is fits and len(fits) == 3
        found = list(fits)
    assert [f.summary() for f in found] == [one.summary()] * 3
    assert [f.dx.stdev for f in found] == [one.dx.stdev] * 3
    with pytest.raises(StopIteration):
        next(fits)


@pytest.mark.unit
def test_star_iterators(pair, star):
    options = {"method": "image", "star": star}
    stars = list(imphot.FitStarPhotometryMP(pair[0], [pair[1]], options, 1))
    both = list(imphot.FitImageAndStarPhotometryMP(pair[0], [pair[1]], options, 1))
    assert stars[0].method == "stars" and [f.method for f in both[0]] == ["image", "stars"]
    assert both[0][1].summary() == stars[0].summary()
    with pytest.raises(imphot.UserError, match="star"):
        imphot.FitStarPhotometryMP(pair[0], [pair[1]], {})


@pytest.mark.unit
def test_errors(pair, tmp_path):
    with pytest.raises(imphot.UserError, match="Error reading MUSE file: nope.fits"):
        imphot.FitImagePhotometryMP(pair[0], ["nope.fits"])
    with pytest.raises(imphot.UserError, match="not aligned"):
        list(imphot.FitImagePhotometryMP(pair[0], [pair[1]], {"method": "fourier"}))
    with pytest.raises(imphot.WorkerError) as caught:
        list(imphot.FitImagePhotometryMP(pair[0], [pair[1]], {"method": "image", "nonsense": 1}))
    assert (
        "nonsense" in caught.value.message
        and "Traceback" in caught.value.traceback
        and "worker_process.py" in str(caught.value)
    )


@pytest.mark.unit
def test_leaving_early_ends_the_workers(pair):
    with imphot.FitImagePhotometryMP(pair[0], [pair[1]] * 6, {"method": "image"}, nworker=1) as fits:
        next(fits)
        workers = list(fits._workers)
    assert workers and all(w.process.poll() is not None for w in workers)


@pytest.mark.unit
def test_workers_are_kept_and_replaced(pair, tmp_path, monkeypatch):
    """A second batch finds them, in the folder of that moment; one that died meanwhile is replaced."""
    import shutil

    options = {"method": "image", "fix_beta": 2.5}

    def process(names):
        with imphot.FitImagePhotometryMP(pair[0], names, options, nworker=1) as fits:
            result = next(fits)
            (worker,) = fits._workers
        return worker.process, result.dx.value

    first, value = process([pair[1]])
    shutil.copy(pair[1], tmp_path / "here.fits")
    monkeypatch.chdir(tmp_path)
    second, again = process(["here.fits"])
    assert first.pid == second.pid and again == value
    second.kill()
    third, again = process(["here.fits"])
    assert third.pid != first.pid and again == value


@pytest.mark.unit
def test_from_a_script_without_a_main_guard(pair, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import imphot\n"
        f"for fit in imphot.FitImagePhotometryMP({pair[0]!r}, [{pair[1]!r}] * 2, {{'method': 'image'}}, 2):\n"
        "    print(fit.name)\n",
        encoding="utf-8",
    )
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.stdout.split() == ["field_muse"] * 2, result.stderr


@pytest.mark.unit
def test_number_of_workers():
    cpus = len(os.sched_getaffinity(0))
    assert number_of_workers(0) == cpus and number_of_workers(3) == 3 and number_of_workers(8, 2) == 2
    assert number_of_workers(-1) == max(cpus - 1, 1) and number_of_workers(-1000) == 1


HOSTILE = "import os; open({mark!r}, 'a').close(); os._exit(7)\n"


@pytest.mark.law
def test_files_of_the_working_folder_are_not_run(pair, tmp_path):
    """Workers do not take numpy.py and the like from where the user works."""
    mark = tmp_path / "was_run"
    for name in ("numpy", "json", "imphot", "sitecustomize", "pickle", "muse_core"):
        (tmp_path / f"{name}.py").write_text(HOSTILE.format(mark=str(mark)), encoding="utf-8")
    code = (
        "import imphot\n"
        f"for fit in imphot.FitImagePhotometryMP({pair[0]!r}, [{pair[1]!r}] * 2, {{'method': 'image'}}, 1):\n"
        "    print(fit.name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert result.stdout.split() == ["field_muse"] * 2, result.stderr
    assert not mark.exists()


@pytest.mark.unit
def test_path_of_a_child(tmp_path, monkeypatch):
    """Without the working folder however it is spelled, and the folder of the script; with the rest."""
    script = tmp_path / "scripts" / "run.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    others = [str(tmp_path / "lib"), str(ROOT)]
    monkeypatch.setattr(sys, "path", ["", ".", str(tmp_path), str(script.parent), *others])
    assert workers.import_path() == others
    assert workers.isolated_python("some.module", "x")[1] == "-I"


@pytest.mark.unit
def test_errors_arrive_as_they_were_raised(pair, tmp_path):
    """File, item, expected, found and remedy survive the way between processes."""
    (tmp_path / "bad.reg").write_text("fk5; circle(1,2)\n", encoding="utf-8")
    options = {"method": "image", "regions": str(tmp_path / "bad.reg")}
    with pytest.raises(imphot.UserError, match="needs 3 numbers") as caught:
        list(imphot.FitImagePhotometryMP(pair[0], [pair[1]], options))
    assert caught.value.faults[0].file == pair[1]
    error = imphot.UserError(file="a.fits", item="CTYPE1", expected="RA---TAN", found="X", remedy="Mend it.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is imphot.UserError and again.faults == error.faults and str(again) == str(error)
    assert isinstance(error, InputError) and issubclass(imphot.WorkerError, RecipeError)
    assert imphot.UserError("One sentence").message == str(imphot.UserError("One sentence")) == "One sentence"
