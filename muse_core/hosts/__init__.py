# SPDX-License-Identifier: BSD-3-Clause
"""Who can call a recipe: the ``muserun`` command, the C plugin's worker, pyesorex classes. Adapters only."""
