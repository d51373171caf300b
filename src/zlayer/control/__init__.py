"""TODO-control"""
