"""False and missed alarms of the judge; what is printed is in :mod:`benchmarks.judge.table`."""
