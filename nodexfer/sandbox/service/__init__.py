"""Globus Auth and Globus Transfer v0.10 over HTTP, and the sandbox's own ``/sandbox/`` routes."""
