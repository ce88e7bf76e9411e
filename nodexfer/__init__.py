"""Brings data by Globus into a compute node's own /tmp, and takes the results out again."""
