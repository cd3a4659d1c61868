# SPDX-License-Identifier: BSD-3-Clause
"""From the sources of all exposures to one offset for each, and how far it can be trusted."""
