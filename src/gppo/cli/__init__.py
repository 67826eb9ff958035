"""The command. Thin: it reads arguments, calls one room, and turns errors into sentences."""
