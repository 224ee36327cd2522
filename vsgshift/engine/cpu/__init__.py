"""Shift-Net's blocks for the CPU, compiled from C: a header of `native/` for each, built for each instruction set."""
