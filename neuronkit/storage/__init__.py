"""What is written to disk: whole or not at all (`atomic`), and sealed, so that any change is noticed (`sealed`)."""
