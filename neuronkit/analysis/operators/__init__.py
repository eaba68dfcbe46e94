"""`analyze`: which of a model's operators a target takes."""
