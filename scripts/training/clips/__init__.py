"""Clips made by code, and what a camera does to them; knows neither recipes nor networks."""
