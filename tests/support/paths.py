"""Paths for tests: the checkout, the shared folder next to it, and the images of the demo."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
PICTURES = ROOT / "deploy" / "pictures"
