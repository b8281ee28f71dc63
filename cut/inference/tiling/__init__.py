"""Translates a picture tile by tile with the result that the whole picture gives, in bounded memory."""
