"""The JSON forms of results: to JSON, from JSON, and their schemas.

The command line, the HTTP API and its client share them.
"""
