"""What is loaded early is the same as what is loaded late."""

from __future__ import annotations

import subprocess
import sys


def test_pytorch_works_after_its_library_was_loaded_beforehand():
    code = (
        "from napari_kidnet.plugin import warming; warming._load_without_the_lock(); import torch; "
        "print(torch.nn.functional.conv3d(torch.ones(1, 1, 3, 3, 3), torch.ones(1, 1, 3, 3, 3)).item())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["27.0"]


def test_layers_need_no_further_imports(make_napari_viewer):
    from napari_kidnet.plugin import warming

    viewer = make_napari_viewer()
    warming.import_for_layers()
    assert {"scipy.ndimage", "pandas"} <= sys.modules.keys()
    assert not viewer.layers  # they were made in no viewer
