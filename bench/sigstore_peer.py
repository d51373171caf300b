"""Keyless bundles judged by ZLayer and by the `sigstore` library: what one takes and the other does not.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install sigstore
    python bench/sigstore_peer.py /tmp/peer/bin/python [HOW MANY]

Good bundles of a Sigstore of our own, each spoilt in one place (a bit of something in base64, a digit, a letter).
Nothing leaves the machine. Exit code 1 when we take one that the library refuses for another reason than a timestamp's
unsigned bytes (its versions, and the signer's number: the certificate is named under the signature too).
"""

from __future__ import annotations

import base64
import copy
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from zlayer.image.keyless import verify_keyless
from zlayer.image.trust_identity import Identity
from zlayer.image.trust_json import Unproven
from zlayer.image.trust_material import envelope_of, of_bundle
from zlayer.image.trust_root import root_of
from zlayer.testing.signing import message_of
from zlayer.testing.sigstore import Json, Sigstore, Wish
from zlayer.testing.sigstore_image import bundle

ISSUER, SUBJECT, DIGEST = "https://issuer.example", "dev@example.com", f"sha256:{'1' * 64}"
PEER = f"""
import json, logging, sys
from pathlib import Path
from tempfile import TemporaryDirectory
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
logging.disable(logging.CRITICAL)
work = json.load(sys.stdin)
with TemporaryDirectory() as directory:
    file = Path(directory) / "root.json"
    file.write_text(work["root"])
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(file)))
who, found = policy.Identity(identity={SUBJECT!r}, issuer={ISSUER!r}), []
for text in work["bundles"]:
    try:
        verifier.verify_dsse(Bundle.from_json(text), who)
        found.append("")
    except Exception as error:
        found.append(str(error)[:100] or type(error).__name__)
json.dump(found, sys.stdout)
"""


def places(document: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # Any: JSON
    below = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in below:
        if isinstance(value, dict | list):
            yield from places(value, (*here, key))
        else:
            yield (*here, key)


def spoilt(document: Json, dice: random.Random) -> tuple[str, Json]:
    """A copy with one place changed, and which."""
    made = copy.deepcopy(document)
    *above, last = dice.choice(list(places(made)))
    place: Any = made  # Any: JSON
    for key in above:
        place = place[key]
    place[last] = changed(str(place[last]), dice)
    return ".".join(map(str, (*above, last))), made


def changed(text: str, dice: random.Random) -> str:
    if text.isdigit():
        return str(max(0, int(text) + dice.choice((-1, 1, 1000))))
    try:
        raw = bytearray(base64.b64decode(text, validate=True))
    except ValueError:
        raw = bytearray()
    if raw and dice.random() < 0.8:
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        return base64.b64encode(bytes(raw)).decode()
    at = dice.randrange(len(text))
    return text[:at] + dice.choice("A1b\n") + text[at + 1 :]


def ours(text: str, root: str) -> str:
    try:
        document, content, signature = envelope_of(text.encode())
        material, allowed = of_bundle(document), [Identity(ISSUER, SUBJECT)]
        if material is None:
            return "no certificate"
        verify_keyless(material, message_of(content), signature, content, root=root_of(root), allowed=allowed)
    except Unproven as why:
        return str(why)
    return ""


def main() -> int:
    python, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    dice, sigstore = random.Random(7), Sigstore()
    signer = sigstore.signer(Wish(issuer_v1=ISSUER))
    good = [json.loads(bundle(signer, DIGEST, "0.2")), json.loads(bundle(signer, DIGEST, "0.3")),
            json.loads(bundle(signer, DIGEST, stamped=True))]  # fmt: skip
    changes = [("as made", one) for one in good] + [spoilt(dice.choice(good), dice) for _ in range(count)]
    texts, root = [json.dumps(one) for _, one in changes], sigstore.root()
    began = time.perf_counter()
    mine = [ours(text, root) for text in texts]
    spent = (time.perf_counter() - began) / len(texts) * 1000
    work = json.dumps({"root": root, "bundles": texts})
    theirs = json.loads(
        subprocess.run((python, "-c", PEER), input=work, text=True, capture_output=True, check=True).stdout
    )
    table = Counter((not one, not other) for one, other in zip(mine, theirs, strict=True))
    print(f"{len(texts)} bundles, {spent:.1f} ms each (ours)")
    for (we, they), number in sorted(table.items()):
        print(f"{number:6}  we {'take' if we else 'refuse'}, the library {'takes' if they else 'refuses'}")
    loose = 0
    for (place, _), one, other in zip(changes, mine, theirs, strict=True):
        if not one and other:
            loose += "signedTimestamp" not in place
            print(f"we take, it does not: {place}: {other}")
    for (place, why), number in Counter(
        (place, one) for (place, _), one, other in zip(changes, mine, theirs, strict=True) if one and not other
    ).most_common(8):
        print(f"{number:6}  it takes, we do not: {place}: {why[:90]}")
    return 1 if loose or mine[:3] != ["", "", ""] else 0


if __name__ == "__main__":
    sys.exit(main())
