"""Plans: findings with a place for the user's decisions.

A plan is applied finding by finding, and undone as a whole.
"""
