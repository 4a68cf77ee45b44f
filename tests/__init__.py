"""Tests mirror the modules; every test states one behaviour in one sentence."""
