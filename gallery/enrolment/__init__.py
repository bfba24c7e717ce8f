"""Enrolment: photos of known people become enrolled faces.

`enroller.py` enrols one photo; `folder.py` a folder of people, read once and judged as a whole.
"""
