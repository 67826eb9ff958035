"""GPPO inside other trainers. Each bridge needs an extra of its own and is imported by its full name."""
