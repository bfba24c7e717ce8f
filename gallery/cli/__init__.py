"""The command line, one file per command group, named after it. Commands parse and print; the
work is done in the library.
"""
