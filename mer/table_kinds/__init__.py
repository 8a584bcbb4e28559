"""Tables that are no scores: one file a kind, each with ``lay_out(request, path, overrides)``.

``request`` is the table's YAML, whose ``kind:`` names the file; the file's docstring has its schema.
"""
