"""The garbage collector rests while keys are answered, and works again afterwards."""

import gc

from qtpy.QtCore import QObject

from napari_kidnet.plugin.collecting import CollectorPause


def test_the_collector_rests_until_it_is_quiet(qtbot):
    owner = QObject()
    pause = CollectorPause(owner)
    pause.hold()
    pause.hold()
    assert not gc.isenabled()
    qtbot.waitUntil(gc.isenabled, timeout=5000)
    pause.hold()
    pause.release()
    assert gc.isenabled()


def test_who_has_switched_it_off_keeps_it_off(qtbot):
    owner = QObject()
    pause = CollectorPause(owner)
    gc.disable()
    try:
        pause.hold()
        pause.release()
        assert not gc.isenabled()
    finally:
        gc.enable()
