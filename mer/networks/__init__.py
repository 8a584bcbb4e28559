"""The papers' networks: plain modules with keyword-only constructors that know no Lightning and no config."""

from mer.networks.laenet import LAENet as LAENet
from mer.networks.ststnet import STSTNet as STSTNet

__all__ = ["LAENet", "STSTNet"]
