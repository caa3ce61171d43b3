"""The pieces every page is made of: elements and charts, self-contained."""
