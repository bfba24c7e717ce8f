"""The JSON forms of what the product answers with: to JSON, from JSON, and their schemas.
The command line, the HTTP API and its client share them.
"""
