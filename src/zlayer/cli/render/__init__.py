"""How things look: pure functions from values to lines. No I/O, no clock (times are arguments), no client."""
