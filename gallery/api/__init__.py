"""The gallery over HTTP: one process, one gallery, the same decisions as the command line.
The page is in `page/`, as plain modules without a build step.
"""
