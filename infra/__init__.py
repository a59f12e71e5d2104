"""What the services stand on: the embedded stack, the demo, the deployment manifests."""
