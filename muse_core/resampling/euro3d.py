# SPDX-License-Identifier: BSD-3-Clause
"""Euro3D files: a cube as a table of spectra.

A Euro3D file is made from a finished cube, a few image columns at a time, so its memory is bounded by
``memory_bytes`` however large the cube is.  Layout and values are those of the C pipeline 2.8.7 (equal
bit by bit on the same cube).  Two of its columns do not hold what their unit says, and so it is kept
here for the readers that know: STAT_SPE is the standard deviation (as the Euro3D standard has it, the
unit is that of a variance), the spaxel sizes in E3D_GRP are in degrees (the unit is arcsec).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from muse_core.framework.checksums import ones_complement
from muse_core.framework.kernels import njit
from muse_core.resampling.cube_cards import (
    Card,
    data_unit_text,
    variance_unit_text,
)
from muse_core.resampling.cube_file import (
    BLOCK,
    CubeReader,
    add_sum_cards,
    primary_bytes,
)
from muse_core.resampling.filter_extensions import MISSING, filter_extension_pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from muse_core.resampling.collapse import FilterImage
    from muse_core.resampling.grid import OutputGrid

#: wavelength in E3D_GRP, Angstrom
GROUP_WAVELENGTH = 6975.0
EURO3D_CARDS: tuple[Card, ...] = (
    ("EURO3D", "T", "file conforms to Euro3D standard"),
    ("E3D_VERS", "1.0", "version number of the Euro3D format"),
    ("E3D_ADC", "F", "data not corrected for atmospheric dispersion"),
)


@dataclass(frozen=True)
class Euro3DGroup:
    """Observing conditions of the spaxels, the one row of E3D_GRP."""

    airmass: float
    parallactic_angle: float
    pressure_hpa: float = 0.0
    temperature_k: float = 273.15
    humidity: float = 0.0

    @classmethod
    def from_header(cls, header: fits.Header, airmass: float, parallactic_angle: float) -> Euro3DGroup:
        """Take pressure, temperature and humidity from the header of the first exposure."""
        return cls(
            airmass,
            parallactic_angle,
            float(header.get("ESO TEL AMBI PRES START", 0.0)),
            float(header.get("ESO TEL AMBI TEMP", 0.0)) + 273.15,
            float(header.get("ESO TEL AMBI RHUM", 0.0)),
        )


def write_euro3d(
    cube_path: Path | str,
    path: Path | str,
    primary_header: fits.Header,
    grid: OutputGrid,
    group: Euro3DGroup,
    unit: str,
    *,
    images: Iterable[FilterImage] = (),
    object_name: str = "",
    memory_bytes: int = 1 << 28,
    unwrapped: bool = False,
    cut_images: bool = False,
) -> int:
    """Write a Euro3D file from a finished cube.

    Parameters
    ----------
    cube_path : path
        Cube with DATA and STAT, e.g. from `CubeWriter`.
    path : path
        File to create.
    primary_header : Header
        Without the Euro3D keywords, which are added here before the ESO keywords.
    grid : OutputGrid
        Geometry of the cube; its method ``voxel_centres`` gives the positions of the spaxels.
    images : iterable of FilterImage
        Images to append (xEuro3D).
    memory_bytes : int
        Largest amount of memory for the rows in work.
    unwrapped : bool
        Let right ascensions go below 0, as the C recipe does.
    cut_images : bool
        Cut off as many of the last columns and rows as the first ones are empty, as the C recipe does.

    Returns
    -------
    int
        Number of spectra written.
    """
    cube = CubeReader(cube_path)
    first = first_finite_planes(cube.data)
    used = first < cube.data.shape[0]
    ra, dec = grid.voxel_centres()
    if not str(grid.ctype[0]).startswith("PIXEL") and not unwrapped:
        ra = np.mod(ra, 360.0)
    with Path(path).open("wb") as stream:
        header = euro3d_primary(primary_header, unit)
        stream.write(primary_bytes(header, 0))
        # spectra begin at their first plane with data, so planes empty in all of them need no room
        layout = spectrum_layout(cube.data.shape[0] - int(first[used].min(initial=cube.data.shape[0] - 1)))
        table = data_table_header(layout, int(used.sum()), grid, unit)
        stream.write(table.tostring().encode("ascii"))
        start = stream.tell()
        total = ByteSum()
        for rows in spectrum_rows(cube, first, (ra, dec), layout, memory_bytes):
            total.add(rows)
            stream.write(rows.data.cast("B"))
        _pad(stream, start)
        end = stream.tell()
        add_sum_cards(table, total.value)
        stream.seek(start - len(table.tostring()))
        stream.write(table.tostring().encode("ascii"))
        stream.seek(end)
        _append(stream, *group_table(group, grid))
        shown = _used_size(used) if cut_images else (slice(None), slice(None))
        for image in images:
            for hdu in filter_extension_pair(image, grid, unit, object_name):
                hdu.data = hdu.data[shown]
                hdu.update_header()
                _append(stream, hdu.header, hdu.data.astype(hdu.data.dtype.newbyteorder(">")))
    return int(used.sum())


def _used_size(used: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the part of an image that the C recipe writes.

    It is as large as the spaxels with data, but begins at the first row and column of the cube, and so loses
    the end of the field if the beginning is empty.
    """
    if not used.any():
        return slice(None), slice(None)
    rows, columns = np.nonzero(used.any(axis=1))[0], np.nonzero(used.any(axis=0))[0]
    return slice(int(rows[-1] - rows[0]) + 1), slice(int(columns[-1] - columns[0]) + 1)


def euro3d_primary(header: fits.Header, unit: str) -> fits.Header:
    """Primary header with the keywords of the Euro3D format (BITPIX is 16 there)."""
    result = header.copy()
    result["BITPIX"] = 16
    cards = [("BUNIT", data_unit_text(unit), ""), *EURO3D_CARDS]
    first_eso = next((i for i, key in enumerate(result) if key.startswith("ESO ")), len(result))
    for key, value, comment in reversed(cards):
        result.remove(key, ignore_missing=True)
        result.insert(first_eso, fits.Card(key, value, comment))
    return result


def first_finite_planes(data: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """First plane with data of each spaxel, int64[ny, nx]; the number of planes where there is none."""
    nz = data.shape[0]
    first = np.full(data.shape[1:], nz, dtype=np.int64)
    for k in range(nz):
        first[np.isfinite(data[k]) & (first == nz)] = k
    return first


def spectrum_layout(nz: int) -> np.dtype:
    """Row of E3D_DATA as it is in the file."""
    return np.dtype(
        [
            ("SPEC_ID", ">i4"),
            ("SELECTED", "S1"),
            ("NSPAX", ">i4"),
            ("SPEC_LEN", ">i4"),
            ("SPEC_STA", ">i4"),
            ("XPOS", ">f8"),
            ("YPOS", ">f8"),
            ("GROUP_N", ">i4"),
            ("SPAX_ID", "S1"),
            ("DATA_SPE", ">f4", (nz,)),
            ("QUAL_SPE", ">i4", (nz,)),
            ("STAT_SPE", ">f4", (nz,)),
        ]
    )


def spectrum_rows(
    cube: CubeReader,
    first: npt.NDArray[np.int64],
    centres: tuple[npt.NDArray, npt.NDArray],
    layout: np.dtype,
    memory_bytes: int,
) -> Iterator[npt.NDArray]:
    """Rows of E3D_DATA, some image columns at a time; x is the slow index."""
    nz, ny, nx = cube.data.shape
    ra, dec = centres
    columns = max(1, int(memory_bytes) // (40 * nz * ny))  # two copies of 12 bytes, two inputs of 8
    for x0 in range(0, nx, columns):
        x1 = min(x0 + columns, nx)
        ix, iy = np.nonzero(first[:, x0:x1].T < nz)
        start = first[iy, x0 + ix]
        rows = np.zeros(len(ix), dtype=layout)
        rows["SPEC_ID"] = (x0 + ix) * ny + iy + 1
        rows["SELECTED"] = b"T"
        rows["NSPAX"] = 1
        rows["SPEC_LEN"] = nz - start
        rows["SPEC_STA"] = start + 1
        rows["XPOS"] = ra[iy, x0 + ix]
        rows["YPOS"] = dec[iy, x0 + ix]
        rows["GROUP_N"] = 1
        data = np.ascontiguousarray(cube.data[:, :, x0:x1], dtype=np.float32)
        stat = np.ascontiguousarray(cube.stat[:, :, x0:x1], dtype=np.float32)
        depth = layout["DATA_SPE"].shape[0]
        spectra = np.full((3, len(ix), depth), 0xFFFFFFFF, dtype=np.uint32)  # NaN as CFITSIO stores it
        fill_spectra(
            data, stat, iy, ix, start, spectra[0].view(np.float32), spectra[1], spectra[2].view(np.float32)
        )
        for name, values in zip(("DATA_SPE", "QUAL_SPE", "STAT_SPE"), spectra, strict=True):
            rows[name] = values.view(layout[name].base.newbyteorder("="))
        yield rows


@njit(cache=True, nogil=True)
def fill_spectra(
    data: np.ndarray,
    stat: np.ndarray,
    iy: np.ndarray,
    ix: np.ndarray,
    start: np.ndarray,
    out_data: np.ndarray,
    out_quality: np.ndarray,
    out_stat: np.ndarray,
) -> None:
    """Turn image columns of a cube into spectra that begin at their first plane with data.

    Parameters
    ----------
    data, stat : float32[nz, ny, nx]
    iy, ix : int64[n]     spaxel of each spectrum
    start : int64[n]      its first plane
    out_data, out_stat : float32[n, depth]  data and standard deviation up to nz - start, 0 for gaps;
                                            the rest is left alone
    out_quality : uint32[n, depth]          0, MISSING for gaps; 0 beyond the end
    """
    nz = data.shape[0]
    for row in range(iy.size):
        shift = start[row]
        for k in range(shift, nz):
            value = data[k, iy[row], ix[row]]
            if np.isfinite(value):
                out_data[row, k - shift] = value
                out_stat[row, k - shift] = np.sqrt(stat[k, iy[row], ix[row]])
                out_quality[row, k - shift] = 0
            else:
                out_data[row, k - shift] = 0.0
                out_stat[row, k - shift] = 0.0
                out_quality[row, k - shift] = MISSING
        for k in range(nz - shift, out_quality.shape[1]):
            out_quality[row, k] = 0


def data_table_header(layout: np.dtype, rows: int, grid: OutputGrid, unit: str) -> fits.Header:
    """Header of the extension E3D_DATA."""
    nz = layout["DATA_SPE"].shape[0]
    position_unit = "pix" if str(grid.ctype[0]).startswith("PIXEL") else "deg"
    columns = (
        ("SPEC_ID", "1J", ""),
        ("SELECTED", "1L", ""),
        ("NSPAX", "1J", ""),
        ("SPEC_LEN", "1J", "pixel"),
        ("SPEC_STA", "1J", "pixel"),
        ("XPOS", "1D", position_unit),
        ("YPOS", "1D", position_unit),
        ("GROUP_N", "1J", ""),
        ("SPAX_ID", "1A", ""),
        ("DATA_SPE", f"{nz}E", data_unit_text(unit)),
        ("QUAL_SPE", f"{nz}J", ""),
        ("STAT_SPE", f"{nz}E", "count**2" if unit == "count" else variance_unit_text(unit)),
    )
    header = _table_header(columns, layout.itemsize, rows)
    header["TNULL11"] = 0
    header["EXTNAME"] = ("E3D_DATA", "This is the Euro3D data table extension")
    header["CTYPES"] = str(grid.ctype[2])
    header["CUNITS"] = str(grid.cunit[2])
    header["CRVALS"] = float(grid.crval[2])
    header["CDELTS"] = float(grid.cd[2][2])
    add_sum_cards(header)
    return header


def _table_header(columns: Any, width: int, rows: int) -> fits.Header:
    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = (8, "8-bit bytes")
    header["NAXIS"] = (2, "2-dimensional binary table")
    header["NAXIS1"] = (width, "width of table in bytes")
    header["NAXIS2"] = (rows, "number of rows in table")
    header["PCOUNT"] = (0, "size of special data area")
    header["GCOUNT"] = (1, "one data group (required keyword)")
    header["TFIELDS"] = (len(columns), "number of fields in each row")
    for n, (name, form, unit) in enumerate(columns, 1):
        header[f"TTYPE{n}"] = (name, f"label for field {n:3d}")
        header[f"TFORM{n}"] = (form, "data format of field")
        if unit:
            header[f"TUNIT{n}"] = (unit, "physical unit of field")
    return header


def group_table(group: Euro3DGroup, grid: OutputGrid) -> tuple[fits.Header, npt.NDArray]:
    """Header and row of the extension E3D_GRP."""
    columns = (
        ("GROUP_N", "1J", "", 1),
        ("G_SHAPE", "1A", "", b"R"),
        ("G_SIZE1", "1E", "arcsec", float(np.hypot(grid.cd[0][0], grid.cd[1][0]))),
        ("G_ANGLE", "1E", "deg", 0.0),
        ("G_SIZE2", "1E", "arcsec", float(np.hypot(grid.cd[0][1], grid.cd[1][1]))),
        ("G_POSWAV", "1E", "Angstrom", GROUP_WAVELENGTH),
        ("G_AIRMAS", "1E", "", group.airmass),
        ("G_PARANG", "1E", "deg", group.parallactic_angle),
        ("G_PRESSU", "1E", "hPa", group.pressure_hpa),
        ("G_TEMPER", "1E", "K", group.temperature_k),
        ("G_HUMID", "1E", "", group.humidity),
    )
    stored = {"1J": ">i4", "1A": "S1", "1E": ">f4"}
    row = np.zeros(1, dtype=np.dtype([(name, stored[form]) for name, form, _, _ in columns]))
    for name, _, _, value in columns:
        row[name] = value
    header = _table_header([column[:3] for column in columns], row.itemsize, 1)
    header["EXTNAME"] = ("E3D_GRP", "This is the Euro3D group table extension")
    return header, row


class ByteSum:
    """Ones' complement sum of a stream of bytes that comes in pieces of any length."""

    def __init__(self) -> None:
        self._sum = 0
        self._rest = b""

    def add(self, piece: Any) -> None:
        """Add bytes (or an array) at the end of the stream."""
        view = memoryview(piece).cast("B") if not isinstance(piece, bytes) else memoryview(piece)
        if self._rest:
            missing = 4 - len(self._rest)
            self._rest += bytes(view[:missing])
            view = view[missing:]
            if len(self._rest) < 4:
                return
            self._sum += int.from_bytes(self._rest, "big")
            self._rest = b""
        whole = len(view) // 4 * 4
        self._sum += int(np.frombuffer(view[:whole], dtype=">u4").sum(dtype=np.uint64))
        self._rest = bytes(view[whole:])

    @property
    def value(self) -> int:
        """Sum so far; the end is padded with zeros."""
        return ones_complement(self._sum + int.from_bytes(self._rest.ljust(4, b"\0"), "big"))


def _append(stream: Any, header: fits.Header, stored: npt.NDArray) -> None:
    total = ByteSum()
    total.add(stored.tobytes())
    add_sum_cards(header, total.value)
    stream.write(header.tostring().encode("ascii"))
    start = stream.tell()
    stream.write(stored.tobytes())
    _pad(stream, start)


def _pad(stream: Any, start: int) -> None:
    stream.write(b"\0" * (-(stream.tell() - start) % BLOCK))
