"""Learning the pairwise head from people's photos, and saying how good it is."""
