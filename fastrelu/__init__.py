"""fastrelu."""
