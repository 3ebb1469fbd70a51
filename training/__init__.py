"""From raw tables to an evaluated model: values in, values out; no path, no network, no clock."""
