"""From a medium to staged, examined files; never from the medium twice."""
