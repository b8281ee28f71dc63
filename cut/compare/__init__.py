"""Several configs trained, run and scored by the other programs, under one budget, and a table of the results."""
