# SPDX-License-Identifier: BSD-3-Clause
"""All sets of sound inputs by their names."""

from __future__ import annotations

from tests.corpus import worlds
from tests.corpus.arc_worlds import ARC_WORLDS
from tests.corpus.step_worlds import STEP_WORLDS

WORLDS = {**worlds.WORLDS, **STEP_WORLDS, **ARC_WORLDS}
