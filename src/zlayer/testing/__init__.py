"""What tests stand on, shipped with the package so that other drivers can be tested too: fakes held to the same
contract suites as the real drivers, images and registries made on the spot, virtual time, the simulated world.

Imports spec, model and the rooms' contracts (the world also the memory store); never a driver of an engine.
"""
