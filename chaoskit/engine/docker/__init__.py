"""What an environment stands on when its services are containers."""
