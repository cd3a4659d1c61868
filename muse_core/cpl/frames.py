# SPDX-License-Identifier: BSD-3-Clause
"""Calibration frames of a recipe as attributes, and the input files of a call."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from muse_core.cpl import html
from muse_core.cpl.files import load_sof
from muse_core.cpl.names import unknown_name
from muse_core.framework.spec import Input


class FrameConfig:
    """One calibration tag: its files, and how many it takes (-1 = not specified, 0 = optional)."""

    def __init__(
        self, tag: str, min_frames: int = 0, max_frames: int = -1, frames: Any = None, help_text: str = ""
    ) -> None:
        self.tag = tag
        self.min = min_frames
        self.max = max_frames
        self.frames = frames
        self.help = help_text
        count = "one frame" if self.max == 1 else "one frame or list of frames"
        about = f"{count} ({'required' if self.min > 0 else 'optional'})"
        self.__doc__ = f"{about}: {help_text}" if help_text else about

    def __repr__(self) -> str:
        return f"FrameDef({self.tag!r}, frames={self.frames!r})"

    def __getitem__(self, index: int) -> Any:
        return (self.tag, self.frames)[index]


class FrameList:
    """The calibration frames of a recipe by tag."""

    _configs: dict[str, FrameConfig]

    def __init__(self, inputs: Iterable[Input]) -> None:
        self.__dict__["_configs"] = {
            i.tag: FrameConfig(i.tag, i.host_min, i.host_max, help_text=i.help) for i in inputs
        }

    def __getitem__(self, tag: str) -> FrameConfig:
        if tag not in self._configs:
            raise unknown_name("calibration frame", tag, self._configs)
        return self._configs[tag]

    def __setitem__(self, tag: str, frames: Any) -> None:
        chosen = frames.frames if isinstance(frames, FrameConfig) else frames
        config = self[tag]
        check_files(tag, chosen)
        config.frames = chosen

    def __delitem__(self, tag: str) -> None:
        self[tag].frames = None

    def __getattr__(self, tag: str) -> FrameConfig:
        if tag.startswith("_"):
            raise AttributeError(tag)
        return self[tag]

    def __setattr__(self, tag: str, frames: Any) -> None:
        self[tag] = frames

    def __delattr__(self, tag: str) -> None:
        del self[tag]

    def __contains__(self, tag: str) -> bool:
        return tag in self._configs

    def __iter__(self) -> Iterator[FrameConfig]:
        return iter(self._configs.values())

    def __len__(self) -> int:
        return len(self._configs)

    def __dir__(self) -> list[str]:
        return sorted(self._configs)

    def _dict(self) -> dict[str, Any]:
        return {config.tag: config.frames for config in self}

    def __eq__(self, other: object) -> bool:
        return self._dict() == (other._dict() if isinstance(other, FrameList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(self._dict())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [
            (config.tag, "" if config.frames is None else _shown(config.frames), config.__doc__)
            for config in self
        ]
        return html.table("calibration frames", ("tag", "files", "meaning"), rows)

    def replace(self, frames: Any, *, check: bool = True) -> None:
        """Set all calibration frames anew from a dict or a set of frames (name, file object or text)."""
        chosen = frames_of(frames)
        for tag, files in chosen.items():
            self[tag]  # an unknown tag is an error before anything is changed
            if check:
                check_files(tag, files)
        for config in self:
            config.frames = chosen.get(config.tag)

    def chosen(self, overrides: Any = None) -> dict[str, Any]:
        """Return tag -> files with the overrides of one call on top."""
        given = frames_of(overrides)
        for tag in given:
            self[tag]
        merged = {**self._dict(), **given}
        return {tag: files for tag, files in merged.items() if files is not None}


def check_files(tag: str, frames: Any) -> None:
    """Warn of files that are not there: python-cpl takes any name, and a file may still be written."""
    for item in frames if isinstance(frames, list) and not is_hdulist(frames) else [frames]:
        if not isinstance(item, str | os.PathLike):
            continue
        path = Path(os.fspath(item)).expanduser()
        if not path.is_file():
            what = "is no regular file" if path.exists() else "does not exist"
            place = "" if path.is_absolute() else f" (names count from {Path.cwd()})"
            warnings.warn(f"calib.{tag}: {path} {what}{place}", UserWarning, stacklevel=4)


def _shown(frames: Any) -> str:
    several = isinstance(frames, list) and not is_hdulist(frames)
    names = ["HDUList" if is_hdulist(one) else str(one) for one in (frames if several else [frames])]
    return ", ".join(names)


def frames_of(frames: Any) -> dict[str, Any]:
    """Return tag -> files from a dict, a frame list, or a set of frames."""
    if frames is None:
        return {}
    if isinstance(frames, Mapping):
        return dict(frames)
    if isinstance(frames, FrameList):
        return {config.tag: config.frames for config in frames}
    if isinstance(frames, str) or hasattr(frames, "read"):
        return load_sof(frames)
    return dict(frames)


def is_hdulist(item: Any) -> bool:
    """Tell whether an input is a FITS file in memory."""
    return isinstance(item, list) and hasattr(item, "writeto")


def expand(frames: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return (tag, file or HDUList) pairs, one per frame."""
    expanded = []
    for tag, files in frames.items():
        several = isinstance(files, list) and not is_hdulist(files)
        expanded += [(tag, one) for one in (files if several else [files])]
    return expanded


def input_file(tag: str, item: Any, folder: Path, *, signed: bool = False) -> str:
    """Return the absolute name of an input; an HDUList (or HDU) is written into the run's folder first.

    Parameters
    ----------
    signed : give a file made from an HDUList the keyword DATAMD5, which products name their calibrations by
    """
    if not hasattr(item, "writeto"):
        return str(Path(os.fspath(item)).expanduser().absolute())
    buffer = io.BytesIO()
    item.writeto(buffer, output_verify="silentfix")
    data = buffer.getvalue()
    path = folder / f"{tag}_{hashlib.md5(data, usedforsecurity=False).hexdigest()[:8]}.fits"
    path.write_bytes(data)
    if signed:
        from muse_core.framework.products import add_datamd5

        add_datamd5(path)
    return str(path.absolute())
