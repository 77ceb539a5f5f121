"""Validates a file for `ray up` against the schema of the Ray that is installed; starts nothing.

.venv/bin/python launch/check_ray_cluster.py [launch/ray-cluster.yaml]
"""

import sys
from pathlib import Path

import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config  # Ray has no public way to it


def main(path: Path) -> str:
    """What is wrong with the file, or ""."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        validate_config(prepare_config(config))
    except ValidationError as error:
        return f"{'.'.join(map(str, error.absolute_path)) or 'the file'}: {error.message}"
    except (OSError, ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    print(f"{path}: {config['cluster_name']}, a head and {len(config['provider']['worker_ips'])} workers, is valid")
    return ""


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("ray-cluster.yaml")
    if wrong := main(file):
        sys.exit(f"{file}: {wrong}")
