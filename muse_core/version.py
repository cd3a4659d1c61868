# SPDX-License-Identifier: BSD-3-Clause
"""The version of the project: packaging, products and hosts take it from here."""

__version__ = "0.1.0"
CONTACT = "https://github.com/muse-recipes/muse-recipes/issues"
"""Where faults are reported: the address of the issues in pyproject.toml."""
