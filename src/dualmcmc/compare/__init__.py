"""Methods compared fairly: the same images in the same order, networks, budget and evaluation for each.

    budget.py    minutes or updates
    changes.py   settings given for all methods, or for one
    job.py       what is compared: a cell is a method with a seed, and an ordinary run
    folder.py    what of it is done, in a folder; refuses to mix two comparisons
    running.py   cells that are not done, each in a process of its own, some at once
    children.py  those processes: they end, with what they have saved, when their parent does
    cell.py      what such a process does: trains, measures, writes what came of it
    floor.py     how far held-out images are from training images
    table.py     a row for each method, as Markdown, CSV and JSON
    picture.py   a row of samples for each method

Importing budget, changes, job, folder and table loads no torch.
"""
