"""A local page over trained models: draw, watch the chains, reconstruct, inpaint, interpolate, score.

    serving.py        the server: a local address, a port, what the page may ask for
    page.py           the page of all models; style.css is its looks
    draw.py, chain.py, reconstruct.py, inpaint.py, interpolate.py, score.py
                      a tab each: what is computed, without the page, and then the tab
    uploads.py        files from outside, checked before they are decoded
    picker.py         choosing a picture (picker.js)
    painter.py        painting a mask (painter.js)
    player.py         the slider through the chains (player.js)
    working.py        work in pieces, with a progress bar, that can be stopped; bad input in a sentence
    figures.py        images and curves as HTML

What a tab computes is a function of the model, the pictures and the seed alone. Importing this package loads
neither gradio nor torch.
"""
