"""Descriptors made by hand: histograms that stand for a frame or a clip. One file a descriptor.

Pure functions of frames or of flow. As encodings of a clip they are in ``mer.encodings``.
"""
