"""The admin API: versions are loaded, unloaded and given traffic over a loopback port with a token."""
