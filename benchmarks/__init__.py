"""Ratios against peers, interleaved in one run, medians. ``./dev bench`` runs all; none asserts."""
