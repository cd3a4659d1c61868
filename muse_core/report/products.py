# SPDX-License-Identifier: BSD-3-Clause
"""Quality pages of products that are there already, whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from muse_core.framework.errors import InputError
from muse_core.framework.fits_file import read_header
from muse_core.framework.record import FileRecord, record_from_header
from muse_core.report.makers import maker

UNKNOWN_REMEDY = "Give products of a MUSE recipe; their kind stands in the keyword ESO PRO CATG."


def page_of_products(paths: Sequence[Path]) -> tuple[str, str]:
    """Return the recipe that made some products, and their quality page as HTML.

    Raises
    ------
    InputError
        naming a file that is no product
    """
    files: dict[str, list[Path]] = {}
    headers = []
    for path in paths:
        header = read_header(path)
        tag = str(header.get("ESO PRO CATG", "")).strip()
        if not tag:
            raise InputError(
                path,
                "keyword ESO PRO CATG",
                expected="the kind of a product",
                found="none",
                remedy=UNKNOWN_REMEDY,
            )
        files.setdefault(tag, []).append(path)
        headers.append(header)
    record = record_from_header(
        headers[0], [FileRecord(path.name, tag) for tag, own in files.items() for path in own]
    )
    for header in headers[1:]:
        for key in header:
            if key.startswith("ESO QC "):
                record.quality.setdefault(key.removeprefix("ESO "), header[key])
    return record.recipe, maker(files)(files).html(record)
