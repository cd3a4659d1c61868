# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures shared by all tests, and a rule: in CI no comparison with the C pipeline is skipped."""

from __future__ import annotations

import os

import pytest

NEVER_SKIPPED = ("parity", "golden")  # markers


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch):
    """No test depends on the user's settings."""
    for name in list(os.environ):
        if name.startswith(("MUSE_", "ESOREX_")):
            monkeypatch.delenv(name)


def pytest_collection_modifyitems(items):
    """Begin with the files that have slow tests: one at the end would keep all but one worker waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Under CI=true turn a skipped comparison with the C pipeline into a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        markers = [name for name in NEVER_SKIPPED if item.get_closest_marker(name)]
        if markers:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} ({markers[0]}) may not be skipped in CI: {report.longrepr[-1]}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Under CI=true no file is skipped as a whole: nobody would see which comparisons were in it."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} may not be skipped in CI: {report.longrepr[-1]}"
    return report
