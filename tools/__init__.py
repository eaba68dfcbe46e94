"""Scripts of the project that no user imports; not part of the wheel."""
