"""From a bundle to what serves: registry, keys, releases, services, smoke tests, rollouts."""
