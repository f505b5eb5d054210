"""How long records stay: what holds keep, and what goes when its time is over."""
