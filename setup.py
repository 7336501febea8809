"""For pip: everything stands in setup.cfg."""

from setuptools import setup

setup()
