"""Measuring on labelled people: identification, clustering, the false-alarm promise, peers, plots.
Nothing here changes a gallery.
"""
