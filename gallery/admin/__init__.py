"""Administration of a gallery: backups, exports, checks, repairs, changing the encoder.
Nothing here deletes a person.
"""
