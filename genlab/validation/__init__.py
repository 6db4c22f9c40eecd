"""What ``validate`` is made of: words taken apart, signatures read from source, types and contradictions."""
