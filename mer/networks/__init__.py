"""The papers' networks: plain modules with keyword-only constructors that know no Lightning and no config."""

from mer.networks.affectivenet import AffectiveNet as AffectiveNet
from mer.networks.dual_inception import DualInception as DualInception
from mer.networks.imagenet import VGG16 as VGG16
from mer.networks.imagenet import VGG19 as VGG19
from mer.networks.imagenet import AlexNet as AlexNet
from mer.networks.imagenet import GoogLeNet as GoogLeNet
from mer.networks.imagenet import MobileNet as MobileNet
from mer.networks.imagenet import MobileNetV2 as MobileNetV2
from mer.networks.imagenet import ResNet34 as ResNet34
from mer.networks.imagenet import ResNet50 as ResNet50
from mer.networks.imagenet import SqueezeNet as SqueezeNet
from mer.networks.laenet import LAENet as LAENet
from mer.networks.learnet import LEARNet as LEARNet
from mer.networks.off_apexnet import OFFApexNet as OFFApexNet
from mer.networks.originet import OrigiNet as OrigiNet
from mer.networks.shallow import ShallowNet as ShallowNet
from mer.networks.ststnet import STSTNet as STSTNet
from mer.networks.time_contrast import TimeContrastNet as TimeContrastNet

__all__ = [
    "VGG16",
    "VGG19",
    "AffectiveNet",
    "AlexNet",
    "DualInception",
    "GoogLeNet",
    "LAENet",
    "LEARNet",
    "MobileNet",
    "MobileNetV2",
    "OFFApexNet",
    "OrigiNet",
    "ResNet34",
    "ResNet50",
    "STSTNet",
    "ShallowNet",
    "SqueezeNet",
    "TimeContrastNet",
]
