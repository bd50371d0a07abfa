"""A file is written whole or not at all, and a failure says what to do."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_kidnet.errors import OutputError
from napari_kidnet.scans import Scan, ensure_writable, write_atomically, write_labels, writing


def test_the_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with write_atomically(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert partial.parent == tmp_path
        assert partial.name.startswith(".out.bin.")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with write_atomically(path) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only; choose another folder"),
        (errno.EACCES, "read-only; choose another folder"),
        (errno.EIO, "write it elsewhere"),
    ],
)
@pytest.mark.parametrize("moment", ["open", "fsync", "replace"])
def test_a_failing_disk_is_told_in_one_sentence(number, words, moment, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    scan = Scan.from_array(np.zeros((3, 4, 5), np.int16), (1, 1, 1))
    monkeypatch.setattr(writing.os, moment, fail)
    with pytest.raises(OutputError, match=words) as caught:
        write_labels(tmp_path / "labels.nii.gz", np.zeros(scan.shape, np.uint8), scan)
    monkeypatch.undo()
    assert str(tmp_path / "labels.nii.gz") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.nii", "labels.tif"])
def test_a_disk_that_fills_up_while_writing(name, tmp_path, rng):
    import resource

    scan = Scan.from_array(np.zeros((40, 50, 60), np.int16), (1, 1, 1))
    labels = rng.integers(0, 200, scan.shape).astype(np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="disk is full"):
            write_labels(tmp_path / name, labels, scan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_a_folder_as_name(tmp_path):
    with (
        pytest.raises(OutputError, match="does not exist; create it"),
        write_atomically(tmp_path / "a" / "b"),
    ):
        pass
    with pytest.raises(OutputError, match="is a folder"), write_atomically(tmp_path):
        pass


def test_writability_is_known_before_the_work(tmp_path):
    ensure_writable(tmp_path / "out.nii.gz")
    assert list(tmp_path.iterdir()) == []
    for bad in (tmp_path / "missing" / "out.nii.gz", tmp_path):
        with pytest.raises(OutputError):
            ensure_writable(bad)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="read-only"):
        ensure_writable(tmp_path / "out.nii.gz")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_writer_leaves_no_final_file_and_its_rest_is_cleared(tmp_path):
    code = (
        "import sys, time\nfrom napari_kidnet.scans.writing import write_atomically\n"
        "with write_atomically(sys.argv[1]) as partial:\n"
        "    partial.write_bytes(b'half'); print('half', flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "out [1].bin"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out [1].bin.")
    with write_atomically(path) as partial:
        partial.write_bytes(b"whole")
    assert left.exists()  # it might belong to a living writer
    os.utime(left, (time.time() - 2 * writing.STALE_AFTER_S,) * 2)
    with write_atomically(path) as partial:
        partial.write_bytes(b"whole")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="needs modes")
def test_results_have_the_mode_the_user_asked_for(tmp_path):
    before = os.umask(0o027)
    try:
        with write_atomically(tmp_path / "out.bin"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "out.bin").stat().st_mode & 0o777 == 0o640
