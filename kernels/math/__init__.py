"""Vector building blocks; `coefficients` holds their numbers."""
