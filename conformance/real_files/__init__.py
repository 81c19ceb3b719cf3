"""Makers of the files for conformance/real-files."""
