# SPDX-License-Identifier: BSD-3-Clause
"""Quality pages in a real browser: no message, pictures, light, dark and print, keyboard, axe-core."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from muse_core.framework.record import FileRecord, RunRecord
from muse_core.report.cube import page_of_files
from muse_core.report.page import Page, Section, hover_image, hover_lines, picture, table


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page with everything that a page can have."""
    image = np.random.default_rng(1).normal(size=(40, 60))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image, origin="lower")
    field = picture(figure, "a field", "A caption.", hover=hover_image(figure, axes, image, "value"))
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    x = np.linspace(5000.0, 6000.0, 300)
    axes.plot(x, np.sin(x / 50.0))
    curve = picture(
        figure, "a curve", vector=True, hover=hover_lines(figure, axes, x, {"flux": np.sin(x / 50.0)})
    )
    record = RunRecord(
        "muse_scipost", started="2026-01-01T00:00:00", parameters={"save": "cube"}, changed={"save": "cube"},
        inputs=[FileRecord("a.fits", "PIXTABLE_OBJECT", "RAW")],
        products=[FileRecord("b.fits", "DATACUBE_FINAL")],
        warnings=["something is missing"], steps={"sky": 1.0}, wall_s=2.0, quality={"QC X": 1.0},
    )  # fmt: skip
    sections = [
        Section("Field", (field, curve)),
        Section("Numbers", (table(("a", "b"), [(1, 2)], [0]), "text")),
    ]
    path = tmp_path_factory.mktemp("browser") / "page.html"
    path.write_text(Page("", ["look at this"], [("target", "M 33")], sections).html(record), encoding="utf-8")
    return path


@pytest.fixture
def tab(browser, page_file):
    """The page in a tab, and the messages of its console."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    messages = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on(
        "request", lambda request: messages.append(request.url) if request.url.startswith("http") else None
    )
    tab.goto(page_file.as_uri())
    yield tab
    tab.close()
    assert messages == []


def test_pictures_have_size_and_content(tab):
    sizes = tab.eval_on_selector_all(
        "figure img", "all => all.map(i => [i.naturalWidth, i.naturalHeight, i.width])"
    )
    assert len(sizes) == 2
    assert all(min(size) > 100 for size in sizes)
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_pointer_tells_values(tab):
    field, curve = tab.query_selector_all("figure")
    for figure, words in ((field, "spaxel"), (curve, "flux")):
        figure.query_selector("img").hover()
        tip = figure.query_selector(".tip")
        assert tip.is_visible()
        assert words in tip.text_content()


def test_light_dark_and_print(tab):
    colours = {}
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        colours[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colours["light"] != colours["dark"]
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_details_open_by_keyboard(tab):
    summary = tab.query_selector("summary")
    assert tab.evaluate("document.querySelector('details').open") is False
    summary.focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.querySelector('details').open") is True


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, scheme):
    from axe_playwright_python.sync_playwright import Axe

    tab.emulate_media(color_scheme=scheme)
    for detail in tab.query_selector_all("summary"):
        detail.click()
    found = Axe().run(tab).response["violations"]
    serious = [f"{v['id']}: {v['help']}" for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []


def test_a_narrow_window_needs_no_sideways_scrolling(tab):
    tab.set_viewport_size({"width": 380, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("width", [380, 1280])
def test_the_page_of_a_cube(browser, cube, tmp_path, width):
    """Pictures side by side where there is room, below each other where not; nothing serious for axe."""
    from axe_playwright_python.sync_playwright import Axe

    path = tmp_path / "cube.html"
    path.write_text(
        page_of_files({"DATACUBE_FINAL": [cube]}).html(RunRecord("muse_scipost")), encoding="utf-8"
    )
    tab = browser.new_page(viewport={"width": width, "height": 900})
    messages = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.goto(path.as_uri())
    boxes = [figure.bounding_box() for figure in tab.query_selector_all("figure.half")[:2]]
    assert (boxes[0]["y"] == boxes[1]["y"]) == (width > 800)
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    tab.query_selector("figure.half img").hover()
    assert "spaxel" in tab.query_selector("figure.half .tip").text_content()
    found = Axe().run(tab).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    tab.close()
    assert messages == []
