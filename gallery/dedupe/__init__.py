"""Finding what is there twice: copies of photos, faces of one person, identities of one person.

Nothing here deletes or merges; it reports.
"""
