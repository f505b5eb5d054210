"""A tiny text encoder of BERT's kind, trained on the same text.

It puts a question near its answer: for trying ``/v1/embeddings`` without a download.
"""
