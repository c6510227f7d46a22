"""What a chat costs through the service, beside two others that do the same work. See README.md in this folder."""
