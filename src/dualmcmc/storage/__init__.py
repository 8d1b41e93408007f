"""What is on disk: whole or not at all, safetensors and JSON, never pickle.

files.py         atomic text, JSON and folders
tensors.py       named tensors and checksums
run_folder.py    a run's folder, the interface between training and what comes after
checkpoints.py   complete states of a run
pretrained.py    the model folder that users ship
card.py          its card, for people and for the hub
evaluations.py   what is known of the model, for the card
finding.py       which model folder a user means
bundled.py       the models that come with the library
"""
