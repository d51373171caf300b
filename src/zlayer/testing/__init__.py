"""TODO-testing"""
