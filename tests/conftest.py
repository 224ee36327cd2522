"""Helpers that every test may use."""

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"
"""Numbers and footage that stand beside some checkouts; tests that want them skip where they are absent."""


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
