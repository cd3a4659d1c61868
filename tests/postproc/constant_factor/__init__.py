# SPDX-License-Identifier: BSD-3-Clause
"""Data times a constant: the example of a correction in CONTRIBUTING.md."""
