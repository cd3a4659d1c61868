# SPDX-License-Identifier: BSD-3-Clause
"""Broken inputs for every input tag of every recipe, made from seeds, and a judge of what the recipes do."""
