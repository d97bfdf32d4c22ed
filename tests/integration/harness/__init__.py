"""Real servers, real clients: what the integration tests stand on."""
