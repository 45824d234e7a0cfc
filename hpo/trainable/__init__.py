"""Trainables of a user's own: what they are written with, loaded by and checked against."""
