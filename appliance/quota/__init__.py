"""What a team and a host may take: counted before any work, settled afterwards."""
