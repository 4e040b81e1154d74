"""What tests stand on: real servers, real clients, a faulty network. Nothing here is a mock."""
