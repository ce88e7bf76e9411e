"""Globus Auth and Transfer: what is asked of them, and the one module that asks."""
