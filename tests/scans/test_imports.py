"""Importing the room costs none of the libraries it may need later."""

from __future__ import annotations

import subprocess
import sys


def test_importing_scans_loads_no_heavy_library() -> None:
    code = (
        "import sys, napari_kidnet.scans\n"
        "heavy = {'torch', 'scipy', 'nibabel', 'pydicom', 'tifffile', 'isal', 'cc3d'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
