# SPDX-License-Identifier: BSD-3-Clause
"""Astrometric solutions from fields of stars with a catalogue: muse_astrometry."""
