"""Training: the loop around a method, and all that it needs but the mathematics.

loop.py          Trainer: batch, losses, one backward, one update
setup.py         devices and processes, data that fits, networks from a seed, a model or a checkpoint
streaming.py     images that are read as training goes: positions in checkpoints
optimisation.py  Adam with a group per network, schedules, clipping, the average of the weights
occasions.py     what is due once in a while: pictures, evaluations, checkpoints, the model folder
evaluation.py    the small evaluation that decides which checkpoint is best
speed.py         the share of this machine's convolution rate that updates reach
progress.py      bar or plain lines, log.jsonl, TensorBoard
tracking.py      the same figures and pictures to a tracking service
"""
