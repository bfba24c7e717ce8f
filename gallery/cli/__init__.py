"""The command line, a file a command group, by the command's name. Commands parse and print; the
work is done in the library.
"""
