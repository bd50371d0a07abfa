"""Vessel islands: found, measured, ordered, repaired and remembered (paper §3)."""

from __future__ import annotations
