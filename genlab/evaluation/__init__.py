"""What ``genlab eval`` is made of: what is evaluated, how metrics are shown it, and what is kept."""
