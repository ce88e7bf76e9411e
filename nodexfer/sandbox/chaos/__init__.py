"""Chaos: many jobs at several places, and everything that can die, hang or be refused does, as a seed says."""
