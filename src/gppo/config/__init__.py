"""Recipes: one YAML file checked by strict models."""
