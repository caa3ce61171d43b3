"""The command line, and what it does that belongs to no other package: reading results, telling the whole story."""
