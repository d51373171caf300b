"""TODO-testing/contracts"""
