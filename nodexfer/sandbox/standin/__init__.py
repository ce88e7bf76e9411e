"""The stand-in for Globus Connect Personal: an installation directory with programs that behave as the real ones do."""

from nodexfer.sandbox.standin.installation import install

__all__ = ["install"]
