# SPDX-License-Identifier: BSD-3-Clause
"""What is to be calibrated: exposures and sets of raw frames."""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import PurePath

from muse_core.calib.cards import HeaderError, Wanted, walk_extensions
from muse_core.calib.classify import Row
from muse_core.calib.messages import Message
from muse_core.calib.store import shown

ALL_IFUS = (1 << 24) - 1
_CHANNELS = Wanted(["EXTNAME"])


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How data were taken: what calibrations and the data that they are for are compared by."""

    mode: str | None = None
    field: str | None = None
    ao: str | None = None
    range: str | None = None
    readout: str | None = None
    night: str | None = None
    temp: float | None = None
    obs_id: int | None = None
    tpl_start: str | None = None


SETTING = tuple(value.name for value in fields(Setting))


@dataclass(frozen=True)
class Target(Setting):
    """An exposure, or a set of raw frames, that needs calibrations.

    Parameters
    ----------
    name : short name for messages
    files : absolute paths
    ifus : the IFUs it has, bit n for IFU n + 1
    notes : what a reader should know of its files
    """

    name: str
    tag: str
    files: tuple[str, ...]
    mjd: float | None
    _: KW_ONLY
    object: str | None = None
    filter: str | None = None
    lamp: str | None = None
    tpl_nexp: int | None = None
    ifus: int = ALL_IFUS
    simulated: bool = False
    set_id: int | None = None
    ra: float | None = None
    dec: float | None = None
    notes: tuple[Message, ...] = ()


def target_of(row: Row, files: tuple[str, ...], mask: int = 0, notes: tuple[Message, ...] = ()) -> Target:
    """Return a row of the index as a target."""
    name = normal_name_shown(row, files)
    return Target(
        name=name,
        tag=row.tag,
        files=files,
        mjd=row.mjd_mid,
        ifus=mask or ALL_IFUS,
        simulated=bool(row.simulated),
        notes=notes,
        **{key: getattr(row, key) for key in _TARGET_SAME},
    )


_TARGET_SAME = (*SETTING, "object", "filter", "lamp", "tpl_nexp", "set_id", "ra", "dec")


def normal_name_shown(row: Row, files: tuple[str, ...]) -> str:
    """Name of a target in messages: the archive's name where it has one, else the file's."""
    if row.kind == "raw" and row.arcfile:
        return row.arcfile.removesuffix(".fits")
    return shown(PurePath(files[0] if files else row.path).name)


def channels(path: str) -> tuple[int | None, str]:
    """Look into a plain file for the IFUs it has.

    Returns
    -------
    bits of the IFUs (None where the file does not tell or cannot be read to its end), and what is wrong or ""
    """
    if path.endswith((".gz", ".Z")):
        return None, ""
    mask = 0
    try:
        for _, _, values in walk_extensions(path, _CHANNELS):
            name = str(values.get("EXTNAME", ""))
            if name.startswith("CHAN") and name[4:6].isdigit() and 1 <= int(name[4:6]) <= 24:
                mask |= 1 << (int(name[4:6]) - 1)
    except (HeaderError, OverflowError) as error:
        return None, str(error)
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    return mask or None, ""


def cut_off(path: str, fault: str) -> Message:
    """Return what a reader is told of a file that cannot be walked to its end."""
    return Message(
        "C043", f"damaged: {shown(PurePath(path).name)} {fault}. Remedy: download or make it again."
    )


def detectors(row: Row, path: str) -> tuple[int, tuple[Message, ...]]:
    """Return the IFUs (bits) that a raw frame has, 0 where it does not tell, and what is wrong with it."""
    have, fault = channels(path)
    chips = json.loads(row.cards or "{}").get("ESO DET CHIPS")
    if have and isinstance(chips, int) and have.bit_count() != chips:
        fault = f"has {have.bit_count()} detectors in its extensions, its header says {chips}"
    return have or 0, (cut_off(path, fault),) if fault else ()


def ifu_list(mask: int) -> list[int]:
    """Return the IFU numbers of a bit mask.

    >>> ifu_list(0b1011)
    [1, 2, 4]
    """
    return [n + 1 for n in range(24) if mask >> n & 1]
