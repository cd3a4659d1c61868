# SPDX-License-Identifier: BSD-3-Clause
"""The exception of the detector steps: one fault, with the four facts a reader needs."""

from __future__ import annotations


class DetectorError(ValueError):
    """A file does not fit what a step needs.

    Parameters
    ----------
    file, item : str
        Where the fault is: file name, then extension, keyword or column.
    expected, found, remedy : str
        What was wanted, what is there, and what to do about it.
    """

    def __init__(self, file, item: str, expected: str = "", found: str = "", remedy: str = ""):
        self.file = str(file)
        self.item = item
        self.expected = str(expected)
        self.found = str(found)
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.file}: {self.item}"
        if self.expected:
            text += f": expected {self.expected}"
        if self.found:
            text += f", found {self.found}"
        return text + (f" ({self.remedy})" if self.remedy else "")
