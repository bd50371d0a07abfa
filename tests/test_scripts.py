"""The set-up scripts on other machines: stand-ins for the system's programs take their place."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOOLS = ("bash", "cat", "cut", "dirname", "grep", "mktemp", "rm", "sed", "sort", "tail", "tr")

CPU_BUILDS = "torch (2.13.0)\nAvailable versions: 2.9.1+cpu, 2.13.0+cpu, 2.13.0, 2.10.0+cpu"
NO_CPU_BUILD = "torch (2.13.0)\nAvailable versions: 2.13.0, 2.12.0"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


class Machine:
    """A folder in the place of PATH, with the few tools that the scripts use and the stand-ins of a test."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name in TOOLS:
            (self.programs / name).symlink_to(shutil.which(name))
        self.has(uname='[ "$1" = -m ] && echo x86_64 || echo Linux')

    def has(self, **programs: str) -> Machine:
        for name, body in programs.items():
            self.put(self.programs / name.replace("_", "-"), body)
        return self

    def has_python(self, versions: str, index: str = NO_CPU_BUILD, plan: str = "", installed: bool = False):
        """Put a Python into .venv that notes what pip is to install, and knows these versions of PyTorch."""
        for name, text in (("versions", versions), ("index", index), ("plan", plan)):
            (self.home / name).write_text(text)
        where = self.home
        body = f"""case "$*" in
-c*) exit {0 if installed else 1} ;;
*--extra-index-url*"pip index"* | *"pip index"*--extra-index-url*) cat {where}/index ;;
*"pip index"*) cat {where}/versions ;;
*--dry-run*) cat {where}/plan ;;
*"pip install"*) echo "$*" >>{where}/installed ;;
esac"""
        (self.home / ".venv" / "bin").mkdir(parents=True)
        self.put(self.home / ".venv" / "bin" / "python", body)
        return self

    @staticmethod
    def put(path: Path, body: str) -> None:
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)

    def bash(self, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {"PATH": str(self.programs), "TMPDIR": str(self.home), **environment}
        return subprocess.run(
            [shutil.which("bash"), *argv], cwd=self.home, env=own, capture_output=True, text=True, check=False
        )

    def install_pytorch(self, **environment: str) -> subprocess.CompletedProcess[str]:
        code = f"set -euo pipefail; source {REPOSITORY}/scripts/environment.sh; install_pytorch"
        return self.bash("-c", code, **environment)

    @property
    def asked_for(self) -> str:
        noted = self.home / "installed"
        return noted.read_text() if noted.exists() else ""


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="has an NVIDIA GPU")
class TestPyTorch:
    def test_the_newest_cpu_build_that_is_at_hand(self, machine):
        done = machine.has_python(CPU_BUILDS).install_pytorch()
        assert done.returncode == 0, done.stderr
        assert "torch==2.13.0+cpu" in machine.asked_for
        assert "index-url" not in machine.asked_for

    def test_else_the_one_of_pytorchs_own_index(self, machine):
        done = machine.has_python(NO_CPU_BUILD, index=CPU_BUILDS).install_pytorch()
        assert done.returncode == 0, done.stderr
        assert "torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu" in machine.asked_for

    def test_without_either_nothing_is_installed_and_the_line_to_run_is_told(self, machine):
        done = machine.has_python(NO_CPU_BUILD).install_pytorch()
        assert done.returncode == 1
        assert machine.asked_for == ""
        line = f"{machine.home}/.venv/bin/python -m pip install torch --index-url"
        assert line in done.stderr
        assert "KIDNET_ALLOW_CUDA_TORCH=1" in done.stderr

    def test_gigabytes_only_on_request(self, machine):
        done = machine.has_python(NO_CPU_BUILD).install_pytorch(KIDNET_ALLOW_CUDA_TORCH="1")
        assert done.returncode == 0
        assert machine.asked_for.strip().endswith("torch>=2.6")

    @pytest.mark.parametrize(
        ("plan", "status"), [('{"name": "torch"}', 0), ('{"name": "torch"} {"name": "nvidia-cublas"}', 1)]
    )
    def test_on_arm_pypis_wheel_is_taken_if_it_brings_no_cuda(self, machine, plan, status):
        machine.has(uname='[ "$1" = -m ] && echo aarch64 || echo Linux').has_python(NO_CPU_BUILD, plan=plan)
        assert machine.install_pytorch().returncode == status
        assert ("torch>=2.6" in machine.asked_for) == (status == 0)

    def test_on_a_mac_there_is_one_build(self, machine):
        machine.has(uname='[ "$1" = -m ] && echo arm64 || echo Darwin').has_python(NO_CPU_BUILD)
        assert machine.install_pytorch().returncode == 0
        assert machine.asked_for.strip().endswith("torch>=2.6")

    def test_with_an_nvidia_gpu_the_ordinary_build(self, machine):
        machine.has(nvidia_smi='echo "GPU 0: some card"').has_python(CPU_BUILDS)
        assert machine.install_pytorch().returncode == 0
        assert machine.asked_for.strip().endswith("torch>=2.6")

    def test_what_is_installed_stays(self, machine):
        machine.has_python(CPU_BUILDS, installed=True)
        assert machine.install_pytorch().returncode == 0
        assert machine.asked_for == ""


def test_an_old_python_is_told(machine):
    machine.has(python3="exit 1")
    code = f"set -euo pipefail; source {REPOSITORY}/scripts/environment.sh; make_environment"
    done = machine.bash("-c", code)
    assert done.returncode == 1
    assert "Python 3.11 or newer was not found" in done.stderr


@pytest.mark.parametrize("sudo", [None, "exit 1"])
def test_who_may_not_install_libraries_is_told_the_line(machine, sudo):
    machine.has(apt_get="exit 7", dpkg_query="exit 1", id="echo 1000")
    if sudo:
        machine.has(sudo=sudo)  # it asks for a password
    done = machine.bash(f"{REPOSITORY}/scripts/test")
    assert done.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y --no-install-recommends" in done.stderr
    for library in ("libxcb-cursor0", "libegl1", "xvfb"):
        assert library in done.stderr


def test_a_linux_without_apt_is_told_what_is_needed(machine):
    done = machine.bash(f"{REPOSITORY}/scripts/test")
    assert done.returncode == 1
    assert "xvfb-run" in done.stderr
