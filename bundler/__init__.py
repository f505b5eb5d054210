"""The connected machine: turns models and policies into a signed offline bundle.

Private keys live here and never travel. Read ``build_flow.py`` first.
"""
