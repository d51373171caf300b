"""TODO-agent"""
