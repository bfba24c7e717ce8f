"""What is kept: identities, photos, faces, encodings and their change log. The only place with SQL."""
