"""What importing costs, what is exported, and that the package's own papers agree with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

import napari_kidnet

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

HEAVY = ("torch", "napari", "qtpy", "PyQt6", "openvino", "scipy", "nibabel", "pydicom", "numpy", "rich")
WITHOUT_WINDOW = ("torch", "napari", "qtpy", "PyQt6", "openvino", "magicgui")


def loaded_after(code: str, names: tuple[str, ...]) -> list[str]:
    """Return which of these packages a fresh Python has loaded after some code."""
    shown = f"{code}\nimport sys\nprint('LOADED', [n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return re.findall(r"'(\w+)'", done.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import napari_kidnet", HEAVY) == []


def test_help_loads_nothing_heavy():
    code = "from napari_kidnet.cli import main\nmain(['--help'])\nmain(['segment', '--help'])"
    assert loaded_after(code, HEAVY) == []


@pytest.mark.parametrize("room", ["scans", "phantom", "evaluation", "islands", "labelling", "segmentation"])
def test_rooms_load_neither_window_nor_network(room):
    assert loaded_after(f"import napari_kidnet.{room}", WITHOUT_WINDOW) == []


def test_every_exported_name_is_there_and_listed():
    assert set(napari_kidnet.__all__) <= set(dir(napari_kidnet))
    for name in napari_kidnet.__all__:
        assert getattr(napari_kidnet, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="segmentt"):
        _ = napari_kidnet.segmentt


def test_every_dependency_has_its_line_of_why():
    text = (REPOSITORY / "docs" / "dependencies.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\|[^|]*?\|? *([\w.-]+) \|", text, flags=re.MULTILINE))
    needed = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    names = {re.match(r"[\w-]+", each)[0] for each in needed} - {"napari-kidnet"}
    assert names - explained == set()


def test_the_manifest_is_valid_and_its_commands_exist():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(Path(napari_kidnet.__file__).with_name("napari.yaml"))
    manifest.validate_imports()


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test", ".ci/run"])
def test_scripts_are_executable_bash_without_mistakes_of_grammar(script):
    path = REPOSITORY / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)
