# SPDX-License-Identifier: BSD-3-Clause
"""Layout of a raw MUSE frame: four read-out quadrants with prescan, data and overscan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from astropy.io import fits

from muse_core.framework.errors import InputError

LEFT_LOW = {1: (1, 4096), 2: (1, 4112)}  # allowed OUTq X and OUTq Y: outer corners of the real detector


@dataclass(frozen=True)
class Quadrant:
    """One read-out port; all windows are 0-based pairs of slices ``(y, x)`` of the raw frame.

    Attributes
    ----------
    number : int
        Port 1..4 of the header.
    right, top : bool
        Position on the detector; the read-out corner is the outer one.
    nx, ny : int
        Size of the data section.
    prescan, overscan : tuple of int
        Width in x and in y.
    frame_shape : tuple of int
        ``(ny, nx)`` of the complete raw frame.
    gain, ron : float
        count/adu and count.
    """

    number: int
    right: bool
    top: bool
    nx: int
    ny: int
    prescan: tuple[int, int]
    overscan: tuple[int, int]
    frame_shape: tuple[int, int]
    gain: float
    ron: float

    def _axis(self, size: int, prescan: int, start: int, stop: int, mirrored: bool) -> slice:
        # start and stop count from the outer edge of the quadrant inwards
        if mirrored:
            return slice(size - prescan - stop, size - prescan - start)
        return slice(prescan + start, prescan + stop)

    def _x(self, start: int, stop: int) -> slice:
        return self._axis(self.frame_shape[1], self.prescan[0], start, stop, self.right)

    def _y(self, start: int, stop: int) -> slice:
        return self._axis(self.frame_shape[0], self.prescan[1], start, stop, self.top)

    @property
    def full(self) -> tuple[slice, slice]:
        """Everything this port reads."""
        return (
            self._y(-self.prescan[1], self.ny + self.overscan[1]),
            self._x(-self.prescan[0], self.nx + self.overscan[0]),
        )

    @property
    def data(self) -> tuple[slice, slice]:
        """The section that sees light."""
        return self._y(0, self.ny), self._x(0, self.nx)

    @property
    def trimmed(self) -> tuple[slice, slice]:
        """Where the data section lies in the trimmed image."""
        y0 = self.ny if self.top else 0
        x0 = self.nx if self.right else 0
        return slice(y0, y0 + self.ny), slice(x0, x0 + self.nx)

    def horizontal(self, ignore: int) -> tuple[slice, slice]:
        """All data columns of the overscan rows, without the ``ignore`` rows next to the data."""
        return self._y(self.ny + ignore, self.ny + self.overscan[1]), self._x(0, self.nx)

    def vertical(self, ignore: int) -> tuple[slice, slice]:
        """Overscan columns without the ``ignore`` next to the data, along data and overscan rows."""
        return self._y(0, self.ny + self.overscan[1]), self._x(self.nx + ignore, self.nx + self.overscan[0])


def _number(header: fits.Header, key: str, file: str, item: str, kind: Callable[[Any], Any] = int) -> Any:
    value = header.get(key)
    good = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, good):
        raise InputError(
            file,
            f"{item} {key}",
            expected="a number",
            found=repr(value),
            remedy="use raw data as delivered by ESO",
        )
    return kind(value)


def read_quadrants(
    header: fits.Header, shape: tuple[int, int], file: str = "", item: str = ""
) -> tuple[Quadrant, ...]:
    """Layout of a raw frame from its extension header, compared with the image itself.

    Parameters
    ----------
    header : mapping
        Extension header with the ``ESO DET OUTq`` keywords.
    shape : tuple of int
        ``(ny, nx)`` of the image.
    file, item : str
        Names for messages.

    Returns
    -------
    tuple of Quadrant
        Ports 1..4.

    Raises
    ------
    InputError
        When keywords are missing, have wrong types, or do not fit the image.
    """
    found = []
    for q in (1, 2, 3, 4):
        key = f"ESO DET OUT{q} "
        get = lambda name, kind=int, key=key: _number(header, key + name, file, item, kind)  # noqa: E731
        x, y = get("X"), get("Y")
        if x not in LEFT_LOW[1] or y not in LEFT_LOW[2]:
            raise InputError(file, f"{item} {key}X, Y", expected="1 or 4096 and 1 or 4112", found=f"{x}, {y}")
        nx, ny = get("NX"), get("NY")
        prescan, overscan = (get("PRSCX"), get("PRSCY")), (get("OVSCX"), get("OVSCY"))
        if min(nx, ny) < 1 or min(prescan + overscan) < 0:
            raise InputError(
                file,
                f"{item} {key}NX, NY, PRSC, OVSC",
                expected="positive sizes",
                found=f"{nx}, {ny}, {prescan}, {overscan}",
            )
        gain = get("GAIN", float)
        if not gain > 0:
            raise InputError(file, f"{item} {key}GAIN", expected="a positive number of count/adu", found=gain)
        ron = header.get(key + "RON")
        ron = float(ron) if isinstance(ron, (int, float)) else 0.0
        if not ron >= 0:
            raise InputError(file, f"{item} {key}RON", expected="no negative number of electrons", found=ron)
        found.append(Quadrant(q, x > 1, y > 1, nx, ny, prescan, overscan, (shape[0], shape[1]), gain, ron))
    first = found[0]
    same = all(
        (f.nx, f.ny, f.prescan, f.overscan) == (first.nx, first.ny, first.prescan, first.overscan)
        for f in found
    )
    corners = {(f.right, f.top) for f in found}
    need = (
        2 * (first.ny + first.prescan[1] + first.overscan[1]),
        2 * (first.nx + first.prescan[0] + first.overscan[0]),
    )
    if not same or len(corners) != 4 or need != tuple(shape):
        raise InputError(
            file,
            f"{item} ESO DET OUTq geometry",
            expected=f"four equal quadrants in four corners filling {need[1]} x {need[0]} pixels",
            found=f"an image of {shape[1]} x {shape[0]}, {len(corners)} corners",
            remedy="image and OUTq keywords must belong together",
        )
    return tuple(found)
