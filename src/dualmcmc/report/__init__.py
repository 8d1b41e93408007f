"""Run folders as one self-contained HTML file. Reads files only: no torch, no weights, no network.

`reading.py` makes plain records of a run's files, `evaluations.py` its figures with their protocols,
`tables.py` lays them out, `curves.py` draws what `log_curves.py` and `task_curves.py` choose, `words.py` says it
in sentences, `sections.py` orders it, `pictures.py` embeds images under the size limit, and `page.py` puts all
of it into `page.html.jinja`.
"""
