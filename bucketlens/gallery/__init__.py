"""A page on which a person looks at the results: data -> page -> server, or a folder or file to put anywhere.

``data`` turns the table's items into compact JSON, ``thumbnails`` makes the pictures, ``page`` puts HTML, script and
style together, ``server`` serves them live, and ``export`` writes them to disk.
"""
