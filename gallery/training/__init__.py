"""Training: a head, its calibration and a projection, from labelled people.

What is reported is measured on people that nothing was fitted on. `train_head` and
`calibrate_gallery` are the commands of that name, callable from Python.
"""
