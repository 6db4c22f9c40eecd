"""What ``genlab sample`` can make of a model, one task a file."""
