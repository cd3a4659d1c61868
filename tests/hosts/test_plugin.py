# SPDX-License-Identifier: BSD-3-Clause
"""The C plugin in the real esorex: texts, runs, faults; compiler and memory checks of its source."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from astropy.io import fits

from muse_core.hosts import worker
from tests.hosts.conftest import RECIPE, RECIPES, muserun
from tests.oracle import missing

pytestmark = pytest.mark.unit

MADE = ["TEST_IMAGE_0001.fits", "TEST_IMAGE_0002.fits", "TEST_TABLE.fits"]
HANGING = ".muse-run-*/.hanging"


def body(text: str) -> str:
    """Output without the banner and without what names the host."""
    return re.sub(r"\besorex\b|\bmuserun\b", "HOST", text.split("*****\n", 1)[-1]).strip()


def one_line_of_usage(text: str) -> str:
    """The text with the words before the options on one line: esorex does not wrap them, muserun does."""
    usage, options, rest = text.partition("Options:")
    return " ".join(usage.split()) + options + rest


def test_list_and_parameters_equal_muserun(work, esorex):
    lists = [body(run("--recipes").stdout).split("\n\n", 1)[1] for run in (esorex, muserun)]
    entries = [sorted(re.split(r"\n(?=  \S)", "\n" + text)) for text in lists]
    assert entries[0] == entries[1]  # esorex lists in the order of the folder
    theirs, ours = (body(run("--params", RECIPE).stdout) for run in (esorex, muserun))
    assert theirs.split("Recipe Parameters")[1] == ours.split("Recipe Parameters")[1]


@pytest.mark.parametrize("hidden", ["--show-hidden=FALSE", "--show-hidden"])
def test_help_and_man_page_equal_muserun(work, esorex, hidden):
    theirs, ours = (body(run("--help", hidden, RECIPE).stdout) for run in (esorex, muserun))
    assert one_line_of_usage(theirs.split("For help on")[0]) == one_line_of_usage(
        ours.split("For help on")[0]
    )
    theirs, ours = (body(run("--man-page", hidden, RECIPE).stdout) for run in (esorex, muserun))
    assert " ".join(theirs.split("DESCRIPTION")[0].split()) == " ".join(ours.split("DESCRIPTION")[0].split())
    options = [text.split("OPTIONS")[1].split("\n\n")[1] for text in (theirs, ours)]
    assert options[0] == options[1]
    tables = [text.split("Input frames for")[1].split("OPTIONS")[0] for text in (theirs, ours)]
    assert tables[0] == tables[1]


def test_configuration_files_equal_muserun(work, esorex):
    for name in ("a.rc", "a.json"):
        texts = []
        for run in (esorex, muserun):
            assert run(f"--create-config={name}", RECIPE, "--scale=0.1", "--method=none").returncode == 0
            lines = (work / name).read_text().splitlines()
            texts.append([line for line in lines if not line.startswith(("# Date", "#       generated"))])
        assert texts[0] == texts[1]


def same_products(one: Path, other: Path) -> None:
    for name in MADE:
        with fits.open(one / name) as a, fits.open(other / name) as b:
            difference = fits.FITSDiff(a, b, ignore_keywords=["DATE", "CHECKSUM", "DATAMD5"])
            assert difference.identical, difference.report()


def test_run_gives_the_same_products_as_muserun(work, sof, esorex):
    (work / "e").mkdir()
    (work / "m").mkdir()
    words = (RECIPE, "--nrow=7", "--scale=0.3", "--title=", "--strict=false", "--small=1e-300", sof)
    result = esorex("--output-dir=e", "--products-sof=p.json", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "[WARNING] muse_test_echo: second line, with e and a 100% sign" in result.stdout
    assert muserun("--output-dir=m", *words).returncode == 0
    same_products(work / "e", work / "m")
    assert '"category": "TEST_TABLE"' in (work / "p.json").read_text()
    assert sorted(path.name for path in work.iterdir()) == ["e", "esorex.log", "in.sof", "m", "p.json"]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("raise", "a defect of the recipe itself"),
        ("recipe", "this run cannot go on"),
        ("input", "column lambda"),
        ("exit", "exit with status 3"),
        ("hardexit", "ended without an answer (exit status 3)"),
        ("SIGSEGV", "signal 11"),
        ("SIGKILL", "signal 9"),
        ("SIGTERM", "without an answer"),
        ("memory", "out of memory"),
        ("half", "failed after the first product"),
    ],
)
def test_every_fault_is_one_clear_error(work, sof, esorex, fault, text):
    result = esorex("--output-dir=.", "--products-sof=p.sof", RECIPE, f"--fault={fault}", sof)
    assert result.returncode == 255
    assert text in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not (work / "p.sof").exists()
    assert list(work.glob("*.fits*")) == []  # all products or none
    assert list(work.glob(".*.part")) == []


@pytest.mark.parametrize("key", ["python", "worker"])
def test_moved_interpreter_or_package_is_explained(work, sof, plugins, esorex_command, key):
    folder = work / "moved"
    shutil.copytree(plugins, folder)
    meta = folder / f"{RECIPE}.meta"
    meta.write_text(re.sub(rf"^{key}\t.*$", f"{key}\t/no/such/file", meta.read_text(), flags=re.M))
    command = [esorex_command, f"--recipe-dir={folder}", RECIPE, str(sof)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert result.returncode == 255
    assert "/no/such/file is missing; run 'musetools plugins --install' again" in result.stderr


def test_outdated_description_is_explained(work, sof, plugins, esorex_command):
    folder = work / "old"
    shutil.copytree(plugins, folder)
    meta = folder / f"{RECIPE}.meta"
    meta.write_text(meta.read_text().replace(".nrow", ".ncol"))
    command = [esorex_command, f"--recipe-dir={folder}", RECIPE, str(sof)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert result.returncode == 255
    assert "'muse.muse_test_echo.ncol'" in result.stderr
    assert "run 'musetools plugins --install' again" in result.stderr


def test_lost_description_hides_the_recipe_only(work, plugins, esorex_command):
    folder = work / "lost"
    shutil.copytree(plugins, folder)
    (folder / f"{RECIPE}.meta").unlink()
    command = [esorex_command, f"--recipe-dir={folder}", "--recipes"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert RECIPE not in result.stdout.split("Available")[1]


def test_emptied_environment_of_esoreflex(work, sof, plugins, esorex_command):
    (work / "empty.rc").write_text("")
    (work / "recipe.rc").write_text(f"muse.{RECIPE}.nrow=21\n")
    bait = work / "bait"
    bait.mkdir()
    for name in ("numpy", "muse_core", "logging"):
        (bait / f"{name}.py").write_text("raise RuntimeError('the wrong module')\n")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(work),
        "PYTHONPATH": str(bait),
        "ESOREX_CONFIG": "empty.rc",
        "ESOREX_RECIPE_CONFIG": "empty.rc",
    }
    (work / "out").mkdir()
    (work / "logs").mkdir()
    command = [esorex_command, f"--recipe-dir={plugins}", "--suppress-prefix=TRUE", "--output-dir=out"]
    command += [
        "--log-dir=logs",
        "--recipe-config=recipe.rc",
        "--products-sof=products_sof.json",
        RECIPE,
        str(sof),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    with fits.open(work / "out" / MADE[2]) as hdus:
        assert hdus[0].header["ESO PRO REC1 PARAM2 VALUE"] == "21"


def test_paths_beyond_ascii_and_a_thousand_frames(tmp_path, images, monkeypatch, esorex):
    folder = tmp_path / "d\u00e9p\u00f4t \u03b1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "\u00fc.fits").write_bytes(images[0].read_bytes())
    (folder / "in put.sof").write_text("\u00fc.fits TEST_RAW\n" + f"{images[0]} TEST_LIST\n" * 1000)
    result = esorex("--output-dir=.", RECIPE, "in put.sof")
    assert result.returncode == 0, result.stdout + result.stderr
    with fits.open(folder / MADE[2]) as hdus:
        assert hdus[0].header["ESO PRO REC1 CAL1000 NAME"] == images[0].name


def test_two_runs_at_once_in_one_folder(work, sof, plugins, esorex_command):
    command = [esorex_command, f"--recipe-dir={plugins}", RECIPE]
    runs = [
        subprocess.Popen(
            [*command, f"--scale={n}", str(sof)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for n in (2, 3)
    ]
    for run in runs:
        output, _ = run.communicate(timeout=60)
        assert run.returncode == 0, output
    for name in MADE:
        with fits.open(work / name) as hdus:
            assert hdus[0].header["PIPEFILE"] == name


def test_full_disk_is_one_clear_error(work, sof, plugins, esorex_command):
    command = [esorex_command, f"--recipe-dir={plugins}", "--log-level=off", RECIPE, str(sof)]
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 4; exec "$@"', "sh", *command]
    result = subprocess.run(limited, capture_output=True, text=True, timeout=60)
    assert result.returncode == 255
    assert "could not be written" in result.stderr
    assert list(work.glob("*.fits")) == []
    assert list(work.glob(".*.part")) == []


def wait_for(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def hanging(work, sof, plugins, esorex_command):
    """A running esorex whose recipe hangs, in a process group of its own, and the worker's process id."""
    command = [esorex_command, f"--recipe-dir={plugins}", RECIPE, "--fault=hang", str(sof)]
    host = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    assert wait_for(lambda: [path for path in work.glob(HANGING) if path.read_text()], 20)
    worker = int(next(work.glob(HANGING)).read_text())
    yield host, worker
    host.kill()
    host.wait()
    host.stderr.close()


@pytest.fixture
def watched(monkeypatch):
    """The worker's end of a socket, the host's end, and what the watcher does, in order, without waiting."""
    done = []
    main = threading.main_thread().ident
    monkeypatch.setattr(worker.signal, "pthread_sigmask", lambda *_: None)
    monkeypatch.setattr(worker.signal, "pthread_kill", lambda to, number: done.append((to == main, number)))
    monkeypatch.setattr(worker.time, "sleep", done.append)
    monkeypatch.setattr(worker.os, "_exit", lambda status: done.append(f"exit {status}"))
    ours, host = socket.socketpair()
    connection = worker.Connection(ours.detach())
    yield connection, host, done
    connection._socket.close()
    host.close()


def test_a_run_without_host_is_asked_to_end_and_ended_after_three_seconds(watched):
    connection, host, done = watched
    host.sendall(b"anything")
    host.close()
    connection.watch()
    assert done == [(True, signal.SIGTERM), 3.0, "exit 143"]


def test_a_finished_run_is_left_alone(watched):
    connection, host, done = watched
    connection.finished = True
    host.close()
    connection.watch()
    assert done == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_worker_ends_with_its_host(work, hanging, number):
    host, worker = hanging
    host.send_signal(number)
    assert wait_for(lambda: not is_running(worker))
    assert wait_for(lambda: not list(work.glob(".muse-run-*")))  # its clean-up has run


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_host_reports_a_killed_worker(work, hanging, number):
    host, worker = hanging
    os.kill(worker, number)
    assert host.wait(30) == 255
    assert not is_running(worker)
    assert b"process" in host.stderr.read()


def test_interrupt_ends_host_and_worker(work, hanging):
    host, worker = hanging
    os.killpg(host.pid, signal.SIGINT)
    host.wait(30)
    assert wait_for(lambda: not is_running(worker))
    assert not list(work.glob(".muse-run-*"))


def test_missing_compiler_is_explained(tmp_path):
    code = "from muse_core.tools import main; import sys; sys.exit(main(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        code,
        "plugins",
        "--install",
        str(tmp_path / "p"),
        "--compiler",
        "no-such-cc",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert result.returncode != 0
    assert "no C compiler 'no-such-cc' found" in result.stderr
    assert "libcpl-dev" in result.stderr
    assert list((tmp_path / "p").glob("*.so")) == []


def test_source_passes_cppcheck():
    from muse_core.hosts.installation import source_folder

    if shutil.which("cppcheck") is None:
        missing("cppcheck")
    command = [
        "cppcheck",
        "-q",
        "--enable=warning,style,performance,portability",
        "--std=c11",
        "--error-exitcode=1",
    ]
    command += ["--suppress=missingIncludeSystem", str(source_folder())]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory, plugins):
    """A small CPL host and the plugins, all compiled with the address and undefined-behaviour sanitizers."""
    from muse_core.hosts.installation import install_plugins

    folder = tmp_path_factory.mktemp("sanitized")
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-Werror"]
    install_plugins(folder, extra=[RECIPES], flags=flags)
    program = folder / "host"
    source = Path(__file__).parent / "c" / "host.c"
    command = ["cc", "-std=c11", *flags, str(source), "-o", str(program), "-lcplui", "-lcplcore", "-ldl"]
    subprocess.run(command, check=True, timeout=60)

    def run(name: str, *words: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1"}
        command = [str(program), str(folder / f"{name}.so"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", [RECIPE, "muse_scipost"])
def test_thousand_loads_leak_nothing(sanitized, name):
    result = sanitized(name, "1000")
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("", "status 0, 5 frames"),
        ("input", "status -1, 2 frames, error: Data not found: x.fits"),
        ("SIGKILL", "ended by signal 9"),
        ("hardexit", "without an answer (exit status 3)"),
    ],
)
def test_runs_under_the_sanitizers(work, images, sanitized, fault, text):
    result = sanitized(RECIPE, "run", "TEST_RAW", fault, *map(str, images))
    assert result.returncode == 0, result.stderr[-3000:]
    assert text in result.stdout


@pytest.mark.slow
def test_start_up_costs(work, sof, plugins, esorex_command):
    """Listing costs at most 25 ms more than an empty folder, a run at most 0.3 s more than muserun.

    Processor time is compared, since tests may share the machine; the wall clock has a loose limit.
    """
    (work / "empty").mkdir()

    def cost(*command):
        best = [9.0, 9.0]
        for _ in range(5):
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run([str(word) for word in command], capture_output=True, timeout=60)
            wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            best = [min(best[0], used), min(best[1], wall)]
        return best

    listing = cost(esorex_command, f"--recipe-dir={plugins}", "--recipes")
    empty = cost(esorex_command, f"--recipe-dir={work / 'empty'}", "--recipes")
    assert listing[0] - empty[0] < 0.025
    run = cost(esorex_command, f"--recipe-dir={plugins}", RECIPE, sof)
    own = cost(sys.executable, "-m", "muse_core.hosts.muserun", f"--recipe-dir={RECIPES}", RECIPE, sof)
    assert run[0] - own[0] < 0.3
    assert run[1] - own[1] < 1.5
