"""What Numba compiles; importing this imports no Numba, its modules do."""
