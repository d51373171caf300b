"""TODO-spec"""
