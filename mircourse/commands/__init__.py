"""The commands of ``mircourse``: a module each, with `add_arguments` and `execute`.

These modules are imported whenever the command line starts, so they import nothing heavy at their top.
"""
