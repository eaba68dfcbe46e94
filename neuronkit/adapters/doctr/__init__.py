"""docTR's recognition models."""
