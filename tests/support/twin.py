"""Broken twins for tests: see `palm.testing.patch`."""

from __future__ import annotations

from palm.testing.patch import patched as twin

__all__ = ["twin"]
