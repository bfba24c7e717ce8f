"""What `gallery --help` lists of each command, so that it need not import the command's module."""

from __future__ import annotations

PANELS = {
    "Photos": {
        "enroll-identity": ("enroll", "Enrol a person from photos with exactly one face each."),
        "query": ("query", "Find who is in a photo: exactly one enrolled person, or none."),
        "compare": (
            "query",
            "Compare two photos: prints 1 for the same person, 0 for different people.",
        ),
        "dedupe": (
            "dedupe",
            "Find duplicates and wrong names. Nothing is changed unless you apply a plan.",
        ),
        "undo": ("dedupe", "Undo an applied dedupe plan, completely or not at all."),
    },
    "People": {
        "identities": (
            "identities",
            "List, show, rename, describe, merge, unmerge, tell apart and forget people.",
        ),
        "faces": ("faces", "Erase, move or date single faces."),
        "expire": (
            "expire",
            "Erase everyone whose expiry date has passed, without asking. This cannot be undone.",
        ),
    },
    "Measure and train": {
        "evaluate": ("evaluate", "Measure accuracy on labelled photos."),
        "calibrate": (
            "calibrate",
            "Calibrate the operating point on your own people, with photos of strangers to them.",
        ),
        "train-head": (
            "train",
            "Train the pairwise head on a folder of people, one folder per person, or on the"
            " gallery.",
        ),
        "encoders": (
            "encoders",
            "List encoders: dimension, licences, speed on this machine, published accuracy.",
        ),
        "re-encode": (
            "reencode",
            "Encode every face with another encoder. Names, ids, details and decisions stay.",
        ),
    },
    "Serve": {
        "serve": ("serve", "Serve the HTTP API at /v1 and a web page at / until stopped."),
        "keys": ("keys", "Create, list, revoke and reset API keys."),
    },
    "Keep": {
        "check": ("check", "Check the gallery, its index, head, weights and their licences."),
        "audit": (
            "audit",
            "Show the audit trail: enrolments, HTTP queries (outcome only), changes and erasures.",
        ),
        "backup": (
            "backup",
            "Write the whole gallery to one file. The gallery can stay in use meanwhile.",
        ),
        "restore": ("backup", "Restore a backup into --home, which must be empty or missing."),
        "export": (
            "export",
            "Export every enrolled face, or the answers to a folder of photos, to a file.",
        ),
        "import": (
            "export",
            "Enrol faces with their encodings from a NumPy archive written by `gallery export`.",
        ),
    },
    "Learn": {
        "demo": ("demo", "Enrol, query and deduplicate real photos in a temporary gallery."),
        "guide": ("guide", "Show the manual: the list of topics, or one topic."),
    },
}
"""By the panel's title, then by the command's name: its module, and its line. In order."""
