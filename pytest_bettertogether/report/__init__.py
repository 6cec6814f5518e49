"""From results to text: pure functions, no clock, no files, no pytest."""
