"""What a branch's head is, asked five times a second, and which of its commits released something."""
