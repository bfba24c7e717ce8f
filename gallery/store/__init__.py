"""The SQLite database: identities, faces, encodings, decisions, the change log and the audit trail.

All SQL is in this package.
"""
