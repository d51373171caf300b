"""nginx, redis, postgres and Python images from Debian packages, and the samples of busybox, pushed to a registry.

    python -m zlayer.testing.debian_images --registry 127.0.0.1:5000 --cache DIR nginx redis postgres python web

The Debian images need root, mmdebstrap and the machine's own apt sources; their layers are kept in the cache
directory by a key of what made them, so the second run only pushes. `busybox`, `web` and `nasty` need neither.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from zlayer.model.errors import ZlayerError
from zlayer.testing.debian_layers import LayerCache
from zlayer.testing.debian_recipes import PATH, RECIPES
from zlayer.testing.imagery import OciImage, image
from zlayer.testing.imagery_push import Target, push
from zlayer.testing.imagery_samples import busybox_image, nasty_image, web_image

SAMPLES: Mapping[str, Callable[[], OciImage]] = {
    "busybox": busybox_image,
    "web": web_image,
    "nasty": nasty_image,
}


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/zlayer/debian-images`, shared by all checkouts of a machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zlayer" / "debian-images"


def debian_image(name: str, cache: Path | None = None) -> OciImage:
    """The image `name` of `RECIPES`, or `debian`, the base alone. Minutes at first, then at once.

    `Unsupported` without root or mmdebstrap; `Failed` with the tail of what apt said.
    """
    layers = LayerCache(cache or default_cache())
    base = layers.base()
    if name == "debian":
        return image([base], {"Cmd": ["bash"], "Env": [PATH]})
    recipe = RECIPES[name]
    return image([base, layers.of(recipe)], recipe.config)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    password = options.password_file.read_text().strip() if options.password_file else ""
    target = Target(options.registry, options.ca, options.username, password)
    try:
        for name in options.images:
            made = SAMPLES[name]() if name in SAMPLES else debian_image(name, options.cache)
            print(push(target, name, "latest", made), flush=True)
    except ZlayerError as error:
        print(f"error: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zlayer.testing.debian_images", description=__doc__)
    parser.add_argument("--registry", required=True, metavar="HOST:PORT")
    parser.add_argument("--ca", type=Path, help="PEM file; makes it https")
    parser.add_argument("--username", default="")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("images", nargs="+", choices=[*RECIPES, "debian", *SAMPLES], metavar="IMAGE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
