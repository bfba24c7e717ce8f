"""What is kept: identities, photos, faces, encodings, a change log. The only place with SQL."""
