"""Plans: findings with a place for the user's decisions.

A plan is applied a finding at a time and undone whole.
"""
