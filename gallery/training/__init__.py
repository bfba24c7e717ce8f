"""Learning a head, an operating point and a projection from labelled people. What is reported is
measured on people that nothing was fitted on.
"""
