# SPDX-License-Identifier: BSD-3-Clause
"""The version of the project: packaging, products and hosts take it from here."""

__version__ = "0.1.0"
CONTACT = "the issue tracker of the muse-recipes project"
"""Where faults are reported: beside the sources, wherever they were got from. (Hosts print it after "to".)"""
