"""What findings are drawn by: every rule and every threshold. Each takes the evidence and yields what it found."""
