"""Leaves out what needs the extra ``train`` where it is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["test_model_training.py"]
