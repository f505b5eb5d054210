"""How a bundle lies on media: volumes, single files and images."""
