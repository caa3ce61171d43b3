"""One console script; each command calls one function of another package."""
