"""What the threads of a process share: turns at what belongs to all of them, and warnings that one alone keeps."""
