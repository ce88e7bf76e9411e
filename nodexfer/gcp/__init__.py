"""Globus Connect Personal on this node: find it, configure it, run it under a guard, and end all of it."""
