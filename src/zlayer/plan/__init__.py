"""TODO-plan"""
