"""What the checker says of reads after invalidations (I1, I2, I4)."""
