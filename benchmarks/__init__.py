"""Ratios against peers, interleaved in one run, medians. ``./dev bench`` runs them all; nothing asserts."""
