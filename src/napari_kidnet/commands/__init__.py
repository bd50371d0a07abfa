"""The verbs of ``kidnet``, one module each: its options, and what it does with them.

The modules are imported to build the help, so none of them imports a room of the package at its top.
"""
