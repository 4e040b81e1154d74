"""Rollouts that nobody sees: made-up traffic through the real judge, controller and transitions."""

from __future__ import annotations
