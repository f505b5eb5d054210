"""What leaves the host as proof: exports, receipts, and the scripts that check them."""
