"""Acting close to the machine's limit: the results of `VLAModel.predict`, with all that is fixed prepared.

`model.py` stays the reference, and the only path of training.
"""
