"""One file of an export, for where a folder is unhandy: a tar archive, an ISO image."""
