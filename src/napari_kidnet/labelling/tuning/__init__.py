"""Fine-tuning out of a labelling session: what there is to learn from, a run that a person steers, what came.

Nothing here knows a window; PyTorch is loaded where the work is done.
"""

from __future__ import annotations

from napari_kidnet.labelling.tuning.comparing import Comparison, compare_steps
from napari_kidnet.labelling.tuning.lessons import Lesson, Tally, count_cases_steps, folder_steps, tally_steps
from napari_kidnet.labelling.tuning.repredicting import relabel_unjudged, repredict_steps
from napari_kidnet.labelling.tuning.running import Reins, TuneReport, TuneRequest, steps_kept, tune_steps

__all__ = [
    "Comparison",
    "Lesson",
    "Reins",
    "Tally",
    "TuneReport",
    "TuneRequest",
    "compare_steps",
    "count_cases_steps",
    "folder_steps",
    "relabel_unjudged",
    "repredict_steps",
    "steps_kept",
    "tally_steps",
    "tune_steps",
]
