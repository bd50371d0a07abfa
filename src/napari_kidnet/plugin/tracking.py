"""Which voxels of a labels layer a person has had a say in: paint, fill, erase, undo, redo.

napari tells of edits in three ways (0.8 to 0.9): ``events.paint`` with a list of atoms, each a
masked box or a tuple ``(indices, before, after)``; ``events.set_data`` and nothing more for undo
and redo; and not at all for a brush that changes no value. The last one matters here: erasing where
nothing is yet says "there is no vessel", and a tile that comes later must not contradict it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_kidnet.labelling import LabellingSession

__all__ = ["EditTracker"]

_NONE = np.empty(0, np.intp)


class EditTracker:
    """Tells a session what a person does to the labels layer that shows it.

    An undone edit gives its voxels back to the machine, unless an earlier edit holds them too;
    redoing it takes them again. So edit and undo together change nothing.

    Parameters
    ----------
    layer : napari.layers.Labels
        Its data are ``session.labels``.
    session : LabellingSession
        Whose ``touched`` is kept up to date.
    """

    def __init__(self, layer: Any, session: LabellingSession) -> None:
        self._layer = layer
        self._session = session
        limit = getattr(layer, "_history_limit", 100)
        self._done: deque[NDArray[np.intp]] = deque(maxlen=limit)
        self._undone: deque[NDArray[np.intp]] = deque(maxlen=limit)
        self._depths = self._history_depths()
        self._paint, self._data_setitem = layer.paint, layer.data_setitem
        # On the instance: the brush, the eraser and scripts all come through these two.
        layer.paint, layer.data_setitem = self._confirm_and_paint, self._confirm_and_set
        layer.events.paint.connect(self._on_paint)
        layer.events.set_data.connect(self._on_set_data)
        layer.events.data.connect(self._on_data)

    def disconnect(self) -> None:
        """Let go of the layer."""
        layer = self._layer
        layer.events.paint.disconnect(self._on_paint)
        layer.events.set_data.disconnect(self._on_set_data)
        layer.events.data.disconnect(self._on_data)
        for name in ("paint", "data_setitem"):
            layer.__dict__.pop(name, None)

    # ------------------------------------------------------------------ edits that change a value

    def _on_paint(self, event: Any) -> None:
        atoms = [self._voxels_of(atom) for atom in event.value]
        where = np.unique(np.concatenate(atoms)) if atoms else _NONE
        self._done.append(self._session.touch(where))
        self._undone.clear()
        self._depths = self._history_depths()

    def _voxels_of(self, atom: Any) -> NDArray[np.intp]:
        """Flat indices of one atom of an edit."""
        shape = self._session.scan.shape
        if hasattr(atom, "slice_key"):
            ranges = [np.arange(*s.indices(n)) for s, n in zip(atom.slice_key, shape, strict=True)]
            flat = np.ravel_multi_index(tuple(np.meshgrid(*ranges, indexing="ij", sparse=True)), shape)
            return np.asarray(flat.reshape(-1) if atom.mask is None else flat[atom.mask], np.intp)
        return np.ravel_multi_index(tuple(np.asarray(i, np.intp).reshape(-1) for i in atom[0]), shape)

    # ------------------------------------------------------------------ undo and redo

    def _on_set_data(self, event: Any = None) -> None:
        before, now = self._depths, self._history_depths()
        self._depths = now
        for _ in range(now[1] - before[1]):  # undone
            if self._done:
                self._undone.append(where := self._done.pop())
                self._session.release(where)
        for _ in range(before[1] - now[1]):  # redone
            if self._undone:
                self._done.append(self._session.touch(self._undone.pop()))

    def _history_depths(self) -> tuple[int, int]:
        """Return how many steps can be undone and redone; without napari's lists, none."""
        return (
            len(getattr(self._layer, "_undo_history", ())),
            len(getattr(self._layer, "_redo_history", ())),
        )

    # ------------------------------------------------------------------ edits that change no value

    def _confirm_and_paint(self, coord: Any, new_label: int, refresh: bool = True) -> None:
        self._confirm(self._under_brush(coord), new_label)
        self._paint(coord, new_label, refresh)

    def _confirm_and_set(self, indices: Any, value: Any, refresh: bool = True) -> None:
        if np.ndim(value) == 0:
            self._confirm(self._voxels_of((indices,)), value)
        self._data_setitem(indices, value, refresh)

    def _confirm(self, where: NDArray[np.intp], value: Any) -> None:
        self._session.touch(where[self._session.labels.reshape(-1)[where] == value])

    def _under_brush(self, coord: Any) -> NDArray[np.intp]:
        """Flat indices of the voxels that a brush at ``coord`` covers."""
        layer, shape = self._layer, self._session.scan.shape
        try:
            painted_shape, axes = layer._get_shape_and_dims_to_paint()
            centre = [int(np.round(c)) for c in coord]
            brush = layer._get_brush_mask_and_bbox(centre, axes, painted_shape)
        except AttributeError:  # another napari: strokes that change nothing go unnoticed
            return _NONE
        if brush is None:
            return _NONE
        mask, low, _ = brush
        where: list[Any] = list(centre)
        for axis, first, found in zip(axes, low, np.nonzero(mask), strict=True):
            where[axis] = found + first
        flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*where)), shape)
        return np.asarray(flat, np.intp).reshape(-1)

    # ------------------------------------------------------------------ other data altogether

    def _on_data(self, event: Any = None) -> None:
        if self._layer.data is not self._session.labels:
            self._session.adopt(self._layer.data)
            self._depths = self._history_depths()
            self._done.clear()
            self._undone.clear()
