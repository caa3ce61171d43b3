"""``bucketlens model inspect``: is a folder of labelled photos fit to train on, and what is to be done first?

Data flows one way: ``reading`` (files -> facts, cached) -> ``duplicates`` and ``summary`` (facts -> figures) ->
``findings`` (figures -> what to do) -> ``document`` (JSON), ``page`` (HTML), ``terminal``. Nothing holds pictures:
a photo is 1 KB of facts, so that memory grows with the number of files and not with what is in them.
"""
