"""One suite per contract, as classes: a driver's test subclasses it with a fixture. Imports contracts, no drivers."""
