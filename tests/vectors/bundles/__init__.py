"""The bundles of the corpus; ``tests.vectors.make_bundles`` says what it is."""
