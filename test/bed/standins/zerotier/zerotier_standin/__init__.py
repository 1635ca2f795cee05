"""A stand-in for zerotier-one 1.14.1 whose behaviour was measured on the real one. For tests only: nothing is encrypted."""

VERSION = "1.14.1"
VERSION_PARTS = {"version": VERSION, "versionBuild": 0, "versionMajor": 1, "versionMinor": 14, "versionRev": 1}
