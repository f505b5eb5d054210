"""Where the demo model comes from: what it says, and how it learns to say it.

``text/`` is what a person edits: answers, questions, words. Everything else makes a
GGUF file of it. Only ``make demo-model`` runs this; nothing of the product does, and
the wheel does not carry it.
"""
