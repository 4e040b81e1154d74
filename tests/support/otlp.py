"""The receiver of the demo, under the name by which tests use it."""

from __future__ import annotations

from canary_middleware.demo.receiver import Point, Received, Receiver, Span

__all__ = ["Point", "Received", "Receiver", "Span"]
