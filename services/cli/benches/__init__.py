"""What `zepid bench` measures."""
