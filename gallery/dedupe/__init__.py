"""What is stored twice or under the wrong name, in a folder of photos or in the gallery.
Findings go into a plan (`plan`), and nothing changes until the user accepts one.
"""
