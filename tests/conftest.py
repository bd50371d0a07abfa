"""What all tests share: folders of real data where they are there, and a seeded source of chance."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

# Never the checkpoints of the person who runs the tests; commands started by a test inherit it.
os.environ["KIDNET_CHECKPOINTS"] = str(Path(tempfile.mkdtemp(prefix="kidnet-tests-")) / "checkpoints")

REPOSITORY = Path(__file__).resolve().parents[1]


def _beside_repository(name: str) -> Path:
    folder = REPOSITORY.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real scans beside the repository."""
    return _beside_repository("data")


@pytest.fixture(scope="session")
def anatomy() -> Path:
    """Folder of real label maps beside the repository."""
    return _beside_repository("anatomy")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
