"""Galleries of up to a million faces, beside raw indexes in the same run."""
