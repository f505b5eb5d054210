"""The transfer sheet: one page that a person carries apart from the medium."""
