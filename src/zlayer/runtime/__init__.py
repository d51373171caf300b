"""Container runtimes: the contract, and one driver per engine. Imports spec and model only; never image or network."""
