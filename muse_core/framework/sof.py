# SPDX-License-Identifier: BSD-3-Clause
"""Reading set-of-frames (SOF) files by esorex's rules.

Seen with esorex 3.13.6: ``file tag [group]`` separated by blanks, ``#`` lines and empty lines are skipped,
further words are ignored, ``$VAR`` and ``${VAR}`` are expanded (unset ones to nothing), relative names count
from the current folder, a missing tag is an empty tag. We also expand a leading ``~``, which esorex only
pretends to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from muse_core.framework.frames import Frame
from muse_core.framework.settings import process_variables
from muse_core.framework.text_files import read_text

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_GROUPS = ("RAW", "CALIB", "PRODUCT")


class MissingFileError(FileNotFoundError):
    """A SOF, or files named in one, do not exist; hosts end with exit code 9."""


def expand_name(name: str, variables: Mapping[str, str] | None = None) -> str:
    """Expand variables and a leading ``~`` of a file name.

    Parameters
    ----------
    variables : besides those of the environment, and before them
    """
    known = _known(variables)
    expanded = _VARIABLE.sub(lambda match: known.get(match.group(1) or match.group(2), ""), name)
    if expanded == "~" or expanded.startswith("~/"):
        return str(Path.home()) + expanded[1:]
    return expanded


def _known(variables: Mapping[str, str] | None) -> Mapping[str, str]:
    return {**process_variables(), **(variables or {})}


def unset_variables(name: str, variables: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the variables in a file name that are not set (they expand to nothing, as in esorex).

    >>> unset_variables("$MUSE_NO_SUCH_VARIABLE/a.fits")
    ('MUSE_NO_SUCH_VARIABLE',)
    """
    names = (match.group(1) or match.group(2) for match in _VARIABLE.finditer(name))
    known = _known(variables)
    return tuple(dict.fromkeys(found for found in names if found not in known))


def parse_sof(text: str, variables: Mapping[str, str] | None = None) -> list[Frame]:
    r"""Return the frames of a SOF text, in order; for `variables` see `expand_name`.

    >>> [(str(f.path), f.tag, f.group) for f in parse_sof("# note\n a.fits  OBJECT RAW x\nb.fits\n")]
    [('a.fits', 'OBJECT', 'RAW'), ('b.fits', '', None)]
    """
    frames = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        group = words[2] if len(words) > 2 and words[2] in _GROUPS else None
        tag = words[1] if len(words) > 1 else ""
        path, unset = Path(expand_name(words[0], variables)), unset_variables(words[0], variables)
        frames.append(Frame(path, tag, group, unset=unset))
    return frames


def is_fits(path: Path) -> bool:
    """Tell whether a file starts like a FITS file."""
    with path.open("rb") as stream:
        return stream.read(9) == b"SIMPLE  ="


def load_sof(path: str | Path, variables: Mapping[str, str] | None = None) -> list[Frame]:
    """Read one SOF; a FITS file in its place becomes a frame with tag COMMAND_LINE.

    For `variables` see `expand_name`.

    Raises
    ------
    MissingFileError
        if the SOF does not exist or is no file
    """
    source = Path(expand_name(str(path), variables))
    if not source.is_file():
        raise MissingFileError(f"set-of-frames file {source} does not exist; check its name and folder")
    if is_fits(source):
        return [Frame(source, "COMMAND_LINE")]
    return parse_sof(read_text(source, "surrogateescape"), variables)


def check_files(frames: Iterable[Frame]) -> None:
    """Raise `MissingFileError` naming every frame whose file does not exist."""
    missing = [frame for frame in frames if not frame.path.exists()]
    if missing:
        unset = dict.fromkeys(name for frame in missing for name in frame.unset)
        hint = "check names and folders (relative names count from the current folder)"
        if unset:
            hint = "variables in these names are not set: " + ", ".join(f"${name}" for name in unset)
        raise MissingFileError(
            "these files of the set of frames do not exist: "
            + ", ".join(str(frame.path) for frame in missing)
            + f"; {hint}"
        )
