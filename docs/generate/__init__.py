"""Writes the parts of the documentation that the code and the measurements decide.

python -m docs.generate            # write the reference pages and the measured tables
python -m docs.generate --check    # exit 1, and show the difference, where one is out of date
"""
