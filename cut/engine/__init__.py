"""The engine: everything about a run that is not the method's mathematics. It never names a concrete method."""
