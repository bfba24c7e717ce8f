"""Bulk enrolment: a folder of people, read once and judged as a whole before anyone is enrolled.

Start at `folder.py`.
"""
