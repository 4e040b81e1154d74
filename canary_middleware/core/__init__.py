"""The deciding core: pure values and functions, no clock, no randomness, no I/O, no threads."""
