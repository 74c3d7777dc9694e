"""Allure: what a scenario writes into its result, what a run adds to it, and the report built from both."""
