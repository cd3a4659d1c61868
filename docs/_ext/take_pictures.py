# SPDX-License-Identifier: BSD-3-Clause
"""Take the pictures of the tutorial and of the quality pages anew: ``python take_pictures.py NIGHT``.

NIGHT is the folder ``night`` in which the commands of docs/tutorial.md were run. Needs chromium, playwright
and pillow.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
PAGES = {
    "muse_twilight": "twilight",
    "muse_scibasic": "basic",
    "muse_scipost": "exposure1",
    "muse_exp_align": "align",
    "muse_exp_combine": "final",
}
PARTS = {  # picture: recipe, titles of the sections, which are shown one below the other
    "twilight": ("muse_twilight", ("Illumination",)),
    "scibasic": ("muse_scibasic", ("OBJECT 1 (object0.fits)",)),
    "scipost": ("muse_scipost", ("Field", "Spectra of the brightest objects")),
    "scipost_noise": ("muse_scipost", ("Background and noise", "Coverage and weights")),
    "align": ("muse_exp_align", ("Residuals after the last iteration", "Matches, magnified")),
}
WIDTH = 900


def keep(shot: bytes, target: Path, width: int = WIDTH) -> None:
    """Write a small picture."""
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.save(target, quality=88, method=6)


def sections(tab: Page, titles: tuple[str, ...]) -> bytes:
    """Take the sections of a page with these titles, joined."""
    parts = []
    for title in titles:
        heading = next(h for h in tab.query_selector_all("section > h2") if h.text_content() == title)
        section = heading.query_selector("xpath=..")
        if section is None:
            raise ValueError(title)
        parts.append(Image.open(io.BytesIO(section.screenshot())).convert("RGB"))
    whole = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), "white")
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    buffer = io.BytesIO()
    whole.save(buffer, "png")
    return buffer.getvalue()


def main(night: Path) -> None:
    """Take all pictures."""
    for folder in ("tutorial", "pages"):
        (PICTURES / folder).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 1500})
        for name, (recipe, titles) in PARTS.items():
            tab.goto((night / PAGES[recipe] / f"{recipe}_report.html").resolve().as_uri())
            keep(sections(tab, titles), PICTURES / "tutorial" / f"{name}.webp")
        for recipe, folder in PAGES.items():
            tab.goto((night / folder / f"{recipe}_report.html").resolve().as_uri())
            keep(tab.screenshot(), PICTURES / "pages" / f"{recipe}.webp", 700)
        tab.emulate_media(color_scheme="dark")
        tab.goto((night / PAGES["muse_scipost"] / "muse_scipost_report.html").resolve().as_uri())
        keep(tab.screenshot(), PICTURES / "pages" / "muse_scipost_dark.webp", 700)
        browser.close()
    keep((night / "cube.png").read_bytes(), PICTURES / "tutorial" / "cube.webp")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
