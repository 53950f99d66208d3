"""Files and environment to values: the one place that reads configuration.

Start reading at `load.py` (the order of the sources); `schema.py` has every key.
"""

from streamnursery.config.load import LoadedConfig, Setting, config_from_mapping, load_config
from streamnursery.config.template import TEMPLATE

__all__ = ["TEMPLATE", "LoadedConfig", "Setting", "config_from_mapping", "load_config"]
