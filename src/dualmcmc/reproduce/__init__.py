"""The paper's tables and figures, run again: sweeps as data, carried out cell by cell.

    sweeps/      which runs a table is made of, what differs between them, what the paper found
    job.py       a sweep at a scale: each cell's whole configuration, and how it is measured
    folder.py    what of it is done, in a folder; refuses to mix two sweeps
    running.py   trains and measures what is not done
    measured.py  what of a cell's measurements stands in the table
    table.py     the paper's figures beside ours, as Markdown and CSV; notes.py has what stands below

Importing any but `running` loads no torch.
"""
