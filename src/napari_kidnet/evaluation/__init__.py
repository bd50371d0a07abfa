"""A prediction against the truth, as in Table 1 (paper §3): regions, islands rule, figures, report."""

from __future__ import annotations

from napari_kidnet.evaluation.html import write_html
from napari_kidnet.evaluation.pictures import Picture, draw_pictures
from napari_kidnet.evaluation.report import evaluate, mean_over_subjects

__all__ = ["Picture", "draw_pictures", "evaluate", "mean_over_subjects", "write_html"]
