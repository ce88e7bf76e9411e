"""Globus Compute, whole: the unmodified endpoint and SDK against the sandbox and its broker."""
