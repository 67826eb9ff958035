"""What runs inside the sandbox: standard library only, no import from the rest of gppo, started by path and not by
name."""
