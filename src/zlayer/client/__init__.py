"""TODO-client"""
