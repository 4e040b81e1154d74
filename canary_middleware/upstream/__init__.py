"""Versions behind HTTP: what passes through is what would have arrived directly."""
