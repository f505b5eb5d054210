"""What every batch holds, and who may enter: decisions without llama.cpp or a clock."""
