"""``report.html`` of a bundle."""
