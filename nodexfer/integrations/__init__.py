"""Parsl and Globus Compute: data is on the node's own disk when a function runs.

Importing this package imports nothing else; each of its modules imports the library that it is for.
"""
