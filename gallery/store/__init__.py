"""What is kept: identities, photos, faces, encodings, decisions, and a change log. The only place
with SQL.
"""
