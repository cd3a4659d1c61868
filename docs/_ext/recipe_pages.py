# SPDX-License-Identifier: BSD-3-Clause
"""Pages and parts of pages that are made from what the code says of itself, whenever the site is built.

* Each recipe of the registry: its page in ``docs/recipes`` (one is made for a recipe without) gets a
  reference of inputs, products and parameters from the declaration.
* Pages that live elsewhere in the repository (contributing, changelog, calibrations).
* The API reference of the modules in `api_modules`.
* A page or a folder named in backticks, as pages on GitHub do it, becomes a link.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api_modules import GROUPS

from muse_core.framework import registry
from muse_core.framework.kinds import FloatList, Words
from muse_core.framework.spec import COMPAT, Input, Param, RecipeSpec

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
MADE = DOCS / "generated"
BORROWED = {
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "calibrations": "calib_db/README.md",
    "security": "SECURITY.md",
}
TYPES = {"string": "text", "int": "whole number", "double": "number", "bool": "true or false"}


def explanations() -> dict[str, str]:
    """Return what parameters mean to a user, by ``name`` or ``recipe.name``."""
    return tomllib.loads((DOCS / "_ext" / "parameters.toml").read_text(encoding="utf-8"))


def reference(spec: RecipeSpec) -> str:
    """Return the reference of a recipe as markdown."""
    parts = [
        f"## Reference of {spec.name}",
        f"*{_text(spec.summary.rstrip('.'))}.*",
        *_inputs(spec),
        *_products(spec),
    ]
    parts += list(_parameters(spec))
    return "\n\n".join(parts) + "\n"


def _inputs(spec: RecipeSpec) -> list[str]:
    if not spec.inputs:
        return []
    rows = ["| tag | number | what it is, and what happens without it |", "| --- | --- | --- |"]
    for declared in spec.inputs:
        text = declared.help.rstrip(".") + "."
        more = spec.manual.inputs.get(declared.tag, "Required." if declared.host_min > 0 else "")
        own = " *(not in the C recipe)*" if declared.ours else ""
        rows.append(f"| `{declared.tag}` | {_count(declared)} | {_cell(f'{text} {more}')}{own} |")
    return ["### Inputs", "\n".join(rows)]


def _count(declared: Input) -> str:
    if declared.max is None:
        return f"{declared.min} or more"
    return str(declared.min) if declared.min == declared.max else f"{declared.min} to {declared.max}"


def _products(spec: RecipeSpec) -> list[str]:
    if not spec.products:
        return []
    rows = ["| tag | what it is | written |", "| --- | --- | --- |"]
    for product in spec.products:
        when = f"with `save={product.save}`" if product.save else "by the run"
        name = f"`{product.tag}`" + (" (numbered)" if product.series else "")
        rows.append(f"| {name} | {_cell(product.help)} | {when} |")
    return ["### Products", "\n".join(rows)]


def _parameters(spec: RecipeSpec) -> Iterator[str]:
    own = [param for param in spec.params if param.ours]
    theirs = [param for param in spec.params if not param.ours and not param.hidden]
    hidden = [param for param in spec.params if not param.ours and param.hidden]
    meanings = explanations()
    title = "Parameters" if own == list(spec.params) or not own else "Parameters of the C recipe"
    for heading, params in (
        (title, theirs),
        ("Parameters for experts (not listed by hosts)", hidden),
        ("Parameters that the C recipe does not have", own),
    ):
        if params:
            yield f"### {heading}"
            yield from (_parameter(spec, param, meanings) for param in params)


def _parameter(spec: RecipeSpec, param: Param, meanings: dict[str, str]) -> str:
    default = str(param.default).lower() if isinstance(param.default, bool) else str(param.default)
    facts = [_kind(param), f"default `{default}`" if default else "default: empty", *_limits(param)]
    lines = [f"(param-{spec.name}-{param.name})=", f"`{param.name}` ({', '.join(facts)})"]
    body = [_text(param.help)]
    explained = meanings.get(f"{spec.name}.{param.name}", meanings.get(param.name, ""))
    if explained:
        body.append(explained)
    for value, meaning in spec.manual.values.get(param.name, ()):
        body.append(f"* `{value}`: {_text(meaning)}")
    if param.variable is not None:
        body.append(f"Environment variable: `{param.variable.name}`, used where the parameter is not given.")
    if param == COMPAT:
        body.append(f"What it restores: {_defects(spec)}.")
    text = "\n".join(
        ("" if k and not (item.startswith("* ") and body[k - 1].startswith("* ")) else "") + item + "\n"
        for k, item in enumerate(body)
    )
    indented = "\n".join(f"  {line}" if line else "" for line in text.rstrip().splitlines())
    return "\n".join(lines[1:]) + f"\n: {indented.lstrip()}"


def _kind(param: Param) -> str:
    if param.choices:
        return "one of " + ", ".join(f"`{choice}`" for choice in param.choices)
    if isinstance(param.kind, Words):
        return "list of words, with commas"
    if isinstance(param.kind, FloatList):
        return "list of numbers, with commas"
    return TYPES[param.type_name]


def _limits(param: Param) -> list[str]:
    limits = []
    if param.above is not None:
        limits.append(f"above {param.above:g}")
    if param.low is not None:
        limits.append(f"at least {param.low:g}")
    if param.high is not None:
        limits.append(f"at most {param.high:g}")
    return limits


def _defects(spec: RecipeSpec) -> str:
    return f"the {len(spec.defects)} defects of the C recipe that `docs/differences.md` lists"


def _text(text: str) -> str:
    """Escape what markdown would take for markup."""
    return re.sub(r"([\\*_<>$|{}\[\]#])", r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    return _text(text)


def make_pages(app: Any) -> None:
    """Write the pages that have no file of their own."""
    wanted: dict[Path, str] = {}
    for name, source in BORROWED.items():
        wanted[MADE / f"{name}.md"] = (ROOT / source).read_text(encoding="utf-8")
    for recipe in registry.available():
        spec = recipe.spec
        if not (DOCS / "recipes" / f"{spec.name}.md").exists():
            wanted[MADE / "recipes" / f"{spec.name}.md"] = _page(spec)
    for group, (title, text, modules) in GROUPS.items():
        wanted[MADE / "api" / f"{group}.md"] = _api_page(title, text, modules)
    for old in MADE.rglob("*.md"):
        if old not in wanted:
            old.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(spec: RecipeSpec) -> str:
    paragraphs = [
        " ".join(part.split()) for part in spec.description.split("\n\n") if not part.startswith(" ")
    ]
    more = ""
    if spec.name.startswith("muse_scipost_"):
        more = "How the single steps work together: `docs/recipes/muse_scipost_steps.md`.\n\n"
    return (
        f"# {spec.name}\n\n{_text(paragraphs[0]) if paragraphs else ''}\n\n"
        + "".join(f"{_text(text)}\n\n" for text in paragraphs[1:])
        + more
    )


def _api_page(title: str, text: str, modules: tuple[str, ...]) -> str:
    parts = [f"# {title}", text]
    for module in modules:
        parts += [f"## {module}", f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```"]
    return "\n\n".join(parts) + "\n"


def complete(app: Any, docname: str, source: list[str]) -> None:
    """Add the reference to a page of a recipe, and make links of names of pages."""
    name = docname.rsplit("/", 1)[-1]
    text = source[0]
    if "recipes/" in docname and name in registry.names():
        text = f"{text.rstrip()}\n\n{reference(registry.load(name).spec)}"
    if docname.startswith("notebooks/"):
        return
    if docname == "index":
        text += _pages_that_nobody_named(text)
    source[0] = with_links(text, docname)


def _pages_that_nobody_named(index: str) -> str:
    """Return a part of the table of contents with the pages that the index does not list."""
    listed = set(re.findall(r"^(?:.*<)?([\w/]+)>?$", index, re.MULTILINE)) | {"index"}
    others = sorted(path.stem for path in DOCS.glob("*.md") if path.stem not in listed)
    if not others:
        return ""
    return "\n```{toctree}\n:hidden:\n:caption: More\n" + "\n".join(others) + "\n```\n"


def with_links(text: str, docname: str) -> str:
    """Make links of names of pages in backticks, but for those in code."""
    here = Path(docname).parent

    def link(match: re.Match[str]) -> str:
        path = match.group(1)
        target = next(
            (f"generated/{n}.md" for n, s in BORROWED.items() if s == path), path.removeprefix("docs/")
        )
        if path == "README.md" or not (DOCS / target).is_file():
            return match.group(0)
        return f"[{path}]({os.path.relpath(target, here)})"

    blocks = re.split(r"(^```.*?^```$|^~~~.*?^~~~$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(
        block if k % 2 else re.sub(r"(?<!\[)`((?:docs/|calib_db/)?[\w/]+\.md)`(?!\])", link, block)
        for k, block in enumerate(blocks)
    )


def mend_links(app: Any, docname: str, source: list[str]) -> None:
    """Links of borrowed pages count from the root of the repository."""
    if docname.removeprefix("generated/") in BORROWED:
        source[0] = re.sub(r"\]\(docs/([^)]+)\)", r"](../\1)", source[0])


def setup(app: Any) -> dict[str, bool]:
    """Connect to sphinx."""
    app.connect("builder-inited", make_pages)
    app.connect("source-read", mend_links)
    app.connect("source-read", complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
