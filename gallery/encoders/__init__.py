"""From an aligned crop to 128 numbers: the networks behind one protocol, their weights, licences.

A new kind of encoder is declared in `registry`.
"""
