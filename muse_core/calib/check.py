# SPDX-License-Identifier: BSD-3-Clause
"""The frames of a run against each other: the rules that choose calibrations, held against what was given.

The C recipes accept in silence a bias, trace or wavelength table, twilight cube, geometry or telluric curve
of another mode (measured against 2.8.7). Here mode, read-out, field and detectors of each calibration are
compared with the data by the table ``assoc`` of the rules file, the same that the index uses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from muse_core.calib.cards import HeaderError, Wanted, read_primary, walk_extensions
from muse_core.calib.classify import Classifier, Row, alike
from muse_core.calib.rules import Association, Rules, load_rules
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames

KEYWORDS = {
    "mode": "ESO INS MODE", "field": "ESO INS MODE (field)", "ao": "ESO INS MODE (laser)",
    "range": "ESO INS MODE (wavelength range)", "readout": "ESO DET READ CURNAME",
}  # fmt: skip
REMEDY = "Take one that fits the data (musetools calib find), or set --calib_mismatch=warn."
_CHIPS = Wanted(["EXTNAME", "ESO DET CHIP ID"])


@dataclass(frozen=True)
class Mismatch:
    """One calibration that does not fit.

    Parameters
    ----------
    data : the file that it does not fit
    grave : the rules call for equality
    usual : differs in most archives, or cannot be compared: nothing to worry about
    """

    file: str
    item: str
    expected: str
    found: str
    data: str = ""
    grave: bool = True
    usual: bool = False

    def __str__(self) -> str:
        return f"{self.file}: {self.item}: the data have {self.wanted}, this calibration {self.found}"

    @property
    def wanted(self) -> str:
        """What was expected, and by which file."""
        return f"{self.expected} (as in {Path(self.data).name})" if self.data else self.expected


def check_calibrations(
    frames: Frames, data: tuple[str, ...], ctx: RunContext, mismatch: str = "error"
) -> list[Mismatch]:
    """Compare the calibrations of a run with its data; faults go to `ctx.problems`, doubts to the log.

    Parameters
    ----------
    data : tags of the frames that are to be calibrated
    mismatch : ``error``, ``warn`` or ``ignore``; with the defects of the C recipe wanted, which takes
        everything, an error becomes a warning
    """
    if mismatch == "ignore":
        return []
    exposures = [(frame.path, frame.tag) for frame in frames if frame.tag in data]
    given = [(frame.path, frame.tag) for frame in frames if frame.tag not in data]
    found = list(mismatches(exposures, given, load_rules()))
    for wrong in found:
        if wrong.grave and mismatch == "error" and not ctx.defects.calibrations_unchecked:
            ctx.problems.add(wrong.file, wrong.item, expected=wrong.wanted, found=wrong.found, remedy=REMEDY)
        else:
            ctx.log.log(logging.INFO if wrong.usual else logging.WARNING, "%s", wrong)
    return found


def mismatches(
    data: Iterable[tuple[Path, str]], calibrations: Iterable[tuple[Path, str]], rules: Rules
) -> Iterable[Mismatch]:
    """Yield what does not fit, file by file; unreadable files are left to those who open them."""
    classifier = Classifier(rules)
    exposures = [row for row in (_row(classifier, path, tag) for path, tag in data) if row is not None]
    if not exposures:
        return
    chips = _Chips([row.path for row in exposures])
    first = exposures[0]
    for key in ("mode", "readout"):
        for other in exposures[1:]:
            if getattr(other, key) not in (None, getattr(first, key)):
                yield Mismatch(
                    other.path,
                    KEYWORDS[key],
                    getattr(first, key),
                    getattr(other, key),
                    first.path,
                    grave=False,
                )
                break
    seen: dict[str, str] = {}
    for path, tag in calibrations:
        association = rules.association(tag)
        if association.single and tag in seen:
            found = f"a second one ({Path(seen[tag]).name} is the first): both are applied"
            yield Mismatch(str(path), tag, "one file of this tag", found, grave=False)
        seen.setdefault(tag, str(path))
        row = _row(classifier, path, tag)
        if row is not None:
            yield from _compare(first, row, association)
            if association.chip:
                yield from chips.compare(row)


def _row(classifier: Classifier, path: Path, tag: str) -> Row | None:
    try:
        header = read_primary(path, classifier.wanted)
    except HeaderError:
        return None
    row = classifier.row(str(path), header, 0)
    row.path, row.tag = str(path), tag
    return row


def _compare(data: Row, calibration: Row, association: Association) -> Iterable[Mismatch]:
    if calibration.simulated and not data.simulated:
        yield Mismatch(
            calibration.path,
            "SIMULATE",
            "a real observation",
            "a file of the simulated instrument",
            data.path,
        )
    wrong = [key for key in association.match if _differs(data, calibration, key)]
    fallback = association.fallback.get("match", ())
    mild = bool(fallback) and not any(_differs(data, calibration, key) for key in fallback)
    for key in wrong:
        yield _mismatch(data, calibration, key, grave=not mild)
    for key in association.prefer:
        if key not in association.match and _differs(data, calibration, key):
            yield _mismatch(data, calibration, key, grave=False)
    for key in association.mention:
        if key not in wrong and _differs(data, calibration, key):
            yield _mismatch(data, calibration, key, grave=False, usual=True)
    for key in association.match:
        if getattr(calibration, key) is None and getattr(data, key) is not None:
            yield _mismatch(data, calibration, key, grave=False, usual=True)


def _mismatch(data: Row, calibration: Row, key: str, *, grave: bool, usual: bool = False) -> Mismatch:
    found = getattr(calibration, key)
    item, expected = KEYWORDS[key], str(getattr(data, key))
    return Mismatch(calibration.path, item, expected, found or "no such keyword", data.path, grave, usual)


def _differs(data: Row, calibration: Row, key: str) -> bool:
    """Tell whether a value is there in both and differs; an absent one is no proof of anything."""
    have, want = getattr(calibration, key), getattr(data, key)
    return have is not None and want is not None and not alike(have, want)


class _Chips:
    """Names of the detectors by IFU, of the data and of calibrations."""

    def __init__(self, paths: list[str]) -> None:
        # exposures with different detectors are told apart by the recipes, which treat them IFU by IFU
        self.data: dict[int, dict[str, str]] = {}  # the file of each name
        for path in paths[:48]:
            for ifu, chip in self._of(path).items():
                self.data.setdefault(ifu, {}).setdefault(chip, path)

    def compare(self, calibration: Row) -> Iterable[Mismatch]:
        for ifu, chip in self._of(calibration.path).items():
            expected = self.data.get(ifu)
            if expected and chip not in expected:
                item = f"ESO DET CHIP ID of IFU {ifu}"
                path = next(iter(expected.values()))
                yield Mismatch(calibration.path, item, " or ".join(sorted(expected)), chip, path)

    @staticmethod
    def _of(path: str) -> Mapping[int, str]:
        found: dict[int, str] = {}
        if path.endswith((".gz", ".Z")):
            return found
        try:
            for _, _, values in walk_extensions(path, _CHIPS):
                name, chip = str(values.get("EXTNAME", "")), values.get("ESO DET CHIP ID")
                if name.startswith("CHAN") and name[4:6].isdigit() and chip is not None:
                    found.setdefault(int(name[4:6]), str(chip).strip())
        except (HeaderError, OSError, OverflowError):
            pass
        return found
