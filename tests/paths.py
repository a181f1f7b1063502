"""Where tests find the checkout, and data that lies beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
"""Published data sets; tests that need them are skipped where they are not."""
