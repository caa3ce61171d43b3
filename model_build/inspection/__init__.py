"""Is a folder of labelled photos fit to train on, and what is to be done first?

Data flows one way: ``reading`` (files -> facts, cached) -> ``duplicates`` and ``summary`` (facts -> figures) ->
``rules`` (figures -> what to do) -> ``inspection`` (all of it, and as JSON), ``inspection_html``. Nothing holds
pictures: a photo is 1 KB of facts, so that memory grows with the number of files and not with what is in them.
"""
