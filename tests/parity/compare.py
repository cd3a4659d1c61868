# SPDX-License-Identifier: BSD-3-Clause
"""Comparison of two FITS products by structure, keywords, NaN pattern and values.

``assert_same_product(reference, new)`` fails with a list of all differences. Values agree if
``|new - ref| <= rtol |ref| + nsigma sigma`` (sigma from the STAT extension) for all but `fraction` of the
pixels; integers and text must be equal.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from astropy.io import fits

VOLATILE = re.compile(
    r"^(DATE|CHECKSUM|DATASUM|DATAMD5|PIPEFILE|COMMENT|HISTORY|EXTEND|ORIGFILE|PCOUNT|GCOUNT|BSCALE|BZERO|"
    r"ESO PRO REC\d+ (DRS ID|PIPE ID|RAW\d+ NAME|CAL\d+ NAME|CAL\d+ DATAMD5)|)$"
)
COORDINATES = ("XPOS", "YPOS", "LAMBDA")
COORDINATE_RTOL = 5e-7  # a few float32 roundings


def option_text(options: dict) -> list[str]:
    """Options as esorex takes them."""
    return [f"--{k}={str(v).upper() if isinstance(v, bool) else v}" for k, v in options.items()]


def assert_same_product(
    reference: Path,
    new: Path,
    *,
    rtol: float = 1e-5,
    nsigma: float = 1e-3,
    fraction: float = 1e-4,
    ignore: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    columns: str = "",
) -> None:
    """Fail with all differences between two products.

    Parameters
    ----------
    ignore : patterns of keywords that may differ
    without : names of extensions whose data may differ
    columns : pattern of columns of tables that may differ
    """
    differences: list[str] = []
    with fits.open(reference) as ref, fits.open(new) as ours:
        names = [hdu.name for hdu in ref], [hdu.name for hdu in ours]
        assert names[0] == names[1], f"{new.name}: extensions {names[1]}, expected {names[0]}"
        for a, b in zip(ref, ours):
            where = f"{new.name}[{a.name}]"
            differences += [f"{where} {text}" for text in keyword_differences(a.header, b.header, ignore)]
            if isinstance(a, fits.BinTableHDU):
                differences += [f"{where} {text}" for text in table_differences(a, b, rtol, columns)]
            elif a.data is not None and a.name not in without:
                sigma = np.sqrt(ref["STAT"].data) if a.name in ("DATA", "STAT") and "STAT" in ref else None
                text = value_difference(a.name, a.data, b.data, sigma, rtol, nsigma, fraction)
                differences += [f"{where} {text}"] if text else []
    assert not differences, "\n".join(differences)


def keyword_differences(ref: fits.Header, new: fits.Header, ignore: tuple[str, ...]) -> list[str]:
    """List keywords that are missing or differ."""
    found = []
    for key in ref:
        if VOLATILE.match(key) or any(re.search(pattern, key) for pattern in ignore):
            continue
        if key not in new:
            found.append(f"lacks {key} = {ref[key]!r}")
        elif not same_value(ref[key], new[key]):
            found.append(f"{key} = {new[key]!r}, expected {ref[key]!r}")
    return found


def same_value(a: object, b: object) -> bool:
    """Compare header values, numbers to 1e-6 relative."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b)) + 1e-12
    return str(a).strip() == str(b).strip()


def table_differences(
    ref: fits.BinTableHDU, new: fits.BinTableHDU, rtol: float, without: str = ""
) -> list[str]:
    """List columns that differ."""
    if ref.columns.names != new.columns.names:
        return [f"columns {new.columns.names}, expected {ref.columns.names}"]
    if len(ref.data) != len(new.data):
        return [f"{len(new.data)} rows, expected {len(ref.data)}"]
    found = []
    for name in ref.columns.names:
        if without and re.match(without, name):
            continue
        a, b = np.asarray(ref.data[name]), np.asarray(new.data[name])
        if (ref.columns[name].unit or "") != (new.columns[name].unit or ""):
            found.append(f"unit of {name}: {new.columns[name].unit!r}, expected {ref.columns[name].unit!r}")
        if a.dtype.kind in "SU":
            if not np.array_equal(np.char.strip(a.astype(str)), np.char.strip(b.astype(str))):
                found.append(f"column {name} differs")
        elif not np.allclose(
            b,
            a,
            rtol=rtol,
            atol=rtol * 1e-3 * (np.nanmax(np.abs(a)) if np.isfinite(a).any() else 0),
            equal_nan=True,
        ):
            found.append(f"column {name} differs by up to {np.nanmax(np.abs(a - b))}")
    return found


def value_difference(name, ref, new, sigma, rtol, nsigma, fraction) -> str:  # noqa: PLR0913
    """Describe how two images differ, "" if they agree."""
    if ref.shape != new.shape:
        return f"shape {new.shape}, expected {ref.shape}"
    if ref.dtype.kind in "iu":
        wrong = np.count_nonzero(ref != new)
        return f"{wrong} of {ref.size} integers differ" if wrong > fraction * ref.size else ""
    r, n = np.asarray(ref, float), np.asarray(new, float)
    if np.count_nonzero(np.isfinite(r) != np.isfinite(n)) > fraction * r.size:
        return f"{np.count_nonzero(np.isfinite(r) != np.isfinite(n))} of {r.size} differ in being NaN"
    both = np.isfinite(r) & np.isfinite(n)
    if not both.any():
        return ""
    limit = (COORDINATE_RTOL if name.upper() in COORDINATES else rtol) * np.abs(r[both])
    if sigma is not None and sigma.shape == r.shape:
        limit += nsigma * np.nan_to_num(np.asarray(sigma, float)[both])
    else:
        limit += 1e-3 * nsigma * 1.4826 * np.median(np.abs(r[both] - np.median(r[both])))
    off = np.abs(n[both] - r[both]) > limit
    if off.sum() > fraction * r.size:
        worst = np.max(np.abs(n[both] - r[both]) / np.maximum(limit, 1e-300))
        return f"{off.sum()} of {r.size} values differ, the worst by {worst:.3g} times the limit"
    return ""
