"""`zepid bench chaos`: real processes under load while everything around them breaks, then an audit."""
