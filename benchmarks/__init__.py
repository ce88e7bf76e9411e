"""The figures: each measured beside its baseline, in the same run, interleaved. ``python -m benchmarks [--only NAME]``."""
