"""The thin, typed edge to llama.cpp; worker processes only."""
