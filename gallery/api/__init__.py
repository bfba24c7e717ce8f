"""The gallery over HTTP: one process, one gallery, the same decisions as the command line."""
