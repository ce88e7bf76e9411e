"""The figures, each beside its baseline of the same run. ``python -m benchmarks [--only NAME]``."""
