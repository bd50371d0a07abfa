"""The napari plugin: reader, writer, sample data, preferences, commands and widgets.

Importing any module of this room loads neither PyTorch nor OpenVINO: menus and readers stay fast,
and the heavy imports happen in the worker thread of the first job.
"""
