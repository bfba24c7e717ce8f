"""The HTTP API: one process, one gallery, the same decisions as the command line.

`routes/` has a file per resource; the middleware every request passes lies beside it. The web page
is in `page/`, as plain modules without a build step.
"""
