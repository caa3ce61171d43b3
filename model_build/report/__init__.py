"""``report.html`` and the pieces every page is made of."""
