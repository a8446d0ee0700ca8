"""What the package has for building networks, which is not installed in the environment of the build."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from facesdk.engine.building.network import Add as Add
from facesdk.engine.building.network import Conv as Conv
from facesdk.engine.building.network import Network as Network
from facesdk.engine.building.network import Reshape as Reshape
from facesdk.engine.building.network import fold_batchnorm as fold_batchnorm
from facesdk.engine.building.network import same_padding as same_padding
from facesdk.engine.building.writer import activation_scale as activation_scale
from facesdk.engine.building.writer import write as write
