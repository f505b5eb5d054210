"""Signing on machines that are apart: requests, signatures and drafts."""
