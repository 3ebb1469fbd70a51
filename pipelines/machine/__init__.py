"""This machine: where things are kept, processes, ports, locks, whole files."""
