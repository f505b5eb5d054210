"""What a bundle delivers, from the spec to the artifacts of its manifest."""
