"""Composition root: environment → wired adapters. The only module that knows ports and adapters both."""
