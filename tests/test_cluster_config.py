# SPDX-License-Identifier: BSD-3-Clause
"""The configurations of clusters in the documentation can be pasted: they parse, and name what there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import psutil
import pytest
import yaml
from dask_jobqueue import SLURMCluster
from distributed.cli import dask_scheduler, dask_worker

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "scale.md").read_text()
COMMANDS = {"worker": dask_worker.main, "scheduler": dask_scheduler.main}


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_slurm(tmp_path):
    calls = [node for node in ast.walk(ast.parse(block("python"))) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if getattr(node.func, "id", "") == "SLURMCluster"]
    settings = {word.arg: word.value for word in call.keywords}
    given = {name: ast.literal_eval(value) for name, value in settings.items() if name != "scheduler_options"}
    given["interface"] = next(iter(psutil.net_if_addrs()))  # one of this machine
    file = tmp_path / "scheduler.json"
    options = {"scheduler_file": str(file), "dashboard_address": "127.0.0.1:0"}
    assert [ast.literal_eval(key) for key in settings["scheduler_options"].keys] == ["scheduler_file"]
    with SLURMCluster(**given, scheduler_options=options) as cluster:
        script = cluster.job_script()
        cluster.adapt(minimum_jobs=0, maximum_jobs=12)
        assert file.is_file()
    for line in ("#SBATCH -p normal", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=15G", "--nthreads 8"):
        assert line in script
    assert "export MUSE_RECIPES_MEMORY=8000" in script


@pytest.mark.parametrize("role", COMMANDS)
def test_kubernetes(role):
    made = yaml.safe_load(block("yaml"))
    assert (made["apiVersion"], made["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    (container,) = made["spec"][role]["spec"]["containers"]
    program, command, *options = container["args"]
    assert (program, command, container["name"]) == ("dask", role, role)
    known = {name for param in COMMANDS[role].params for name in param.opts}
    assert {option for option in options if option.startswith("--")} <= known


def test_kubernetes_finds_the_scheduler():
    scheduler = yaml.safe_load(block("yaml"))["spec"]["scheduler"]
    (port,) = scheduler["spec"]["containers"][0]["ports"]
    # the schema of the operator takes no number here
    assert scheduler["spec"]["containers"][0]["readinessProbe"]["tcpSocket"]["port"] == port["name"]
    (served,) = scheduler["service"]["ports"]
    assert (served["targetPort"], served["port"]) == (port["name"], port["containerPort"])
