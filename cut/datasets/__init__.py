"""What cut-data does: makes, fetches and examines data sets."""
