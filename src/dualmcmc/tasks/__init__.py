"""What the paper measures of a trained model, a file each: figures with their protocol, and pictures.

    setting.py          model, images, seed and processes that all tasks share
    reference.py        statistics of the training images' features, cached
    generation.py       FID, KID and IS of the generator and along the data chain (Tables 1, 2, 5)
    reconstruction.py   MSE, PSNR and SSIM of x -> z -> x (Tables 3 and 4, Figure 3)
    revision.py         what the two chains change (Figure 2), and whether they are healthy
    interpolation.py    paths between codes (Figure 4)
    ood.py              telling other images apart (Table 8); others.py makes the built-in ones
    inpainting.py       hidden pixels (Figure 5 and its table)

Tasks never meet training: a metric cannot steer it by accident. Every image's result is a function of its
index and the seed, so figures are the same (up to rounding) whatever the batch or the number of processes.
"""
