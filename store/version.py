"""The version, in this one place; the build reads it from here."""

from __future__ import annotations

__version__ = "0.1.0"
LIBRARY = f"styleatlas {__version__}"
"""As files name what wrote them."""
