"""`make sam-local`: the real `sam build` and `sam local invoke`, checked against the local endpoints."""
