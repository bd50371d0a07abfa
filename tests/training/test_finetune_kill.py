"""kill -9 at any moment of a fine-tuning; `benchmarks/finetune_kill.py` does the same 50 times."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "finetune_kill.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.skipif(not SCRIPT.is_file(), reason="the benchmarks are not here")
def test_the_checkpoint_in_use_survives_and_a_killed_run_goes_on() -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "4", "--steps", "4", "--seed", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "4 kills" in done.stdout
