"""How the plugin tells a person that something went wrong: one sentence, no traceback."""

from __future__ import annotations

from napari_kidnet.errors import KidnetError

__all__ = ["tell"]


def tell(error: Exception) -> None:
    """Show an error as a notification.

    Ours is its one sentence; anything else is a fault in the program, and keeps its traceback.
    While napari is still opening files its window is not there yet, and napari would drop the
    notification: it is then shown again once there is a window.
    """
    from napari.utils.notifications import Notification, NotificationSeverity, notification_manager

    if not isinstance(error, KidnetError):
        notification_manager.receive_error(type(error), error, error.__traceback__)
        return
    notification = Notification(str(error), severity=NotificationSeverity.ERROR)
    notification_manager.dispatch(notification)
    if not _window_is_visible():
        from qtpy.QtCore import QCoreApplication, QTimer

        if QCoreApplication.instance() is not None:
            QTimer.singleShot(300, lambda: notification_manager.notification_ready(notification))


def _window_is_visible() -> bool:
    from napari.viewer import current_viewer

    viewer = current_viewer()
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    return window is not None and bool(window.isVisible())
