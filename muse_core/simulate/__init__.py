# SPDX-License-Identifier: BSD-3-Clause
"""Synthetic MUSE: everything the recipes eat, at any size, with the truth beside it.

Nothing is imported here; take what is needed from the modules, for example
``from muse_core.simulate.scipost import simulate_scipost``.
"""
