# SPDX-License-Identifier: BSD-3-Clause
"""What the values of parameters mean that many recipes have alike."""

from __future__ import annotations

VALUES = {
    "dar_method": (
        ("Filippenko", "Filippenko (1982), that of the C recipe."),
        ("Owens", "Owens (1967), with separate densities of dry air and water vapour."),
        ("Edlen", "The equation of Edlen in its modern form (NIST)."),
        ("Ciddor", "Ciddor (1996), the standard of geodesy (NIST), for 450 ppm of carbon dioxide."),
    ),
    "table_layout": (
        ("image", "An image extension for each column: quick to read in parts. The usual choice."),
        ("table", "One binary table, for programs that read tables only."),
    ),
    "calib_mismatch": (
        ("error", "The recipe ends before it starts to work, and names what does not fit."),
        ("warn", "The calibration is used, with a warning."),
        ("ignore", "The calibration is used, and nothing is said."),
    ),
}
"""Parameter -> pairs of a value and what it does."""
