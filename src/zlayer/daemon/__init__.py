"""TODO-daemon"""
