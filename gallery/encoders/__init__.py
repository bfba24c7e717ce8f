"""From a chip to an encoding of 128 numbers: networks behind one protocol, weights, licences.

A chip is an aligned crop of one face. Add a new kind of encoder in `registry`.
"""
