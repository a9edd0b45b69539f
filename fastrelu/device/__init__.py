"""Arrays on a CUDA device: whose they are, what a call makes of them, and what it launches."""
