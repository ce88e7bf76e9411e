"""A small data set in the layout of CIFAR-100, packed like the real one, and its checksum.

    python make_cifar_like.py DIRECTORY        writes cifar-100-python.tar.gz and prints sha256:HEX

Images are noise around one picture for each class, so that there is something to learn. Made again, it is the same
file, byte by byte.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pathlib
import pickle
import sys
import tarfile

import numpy as np

CLASSES, TRAIN, TEST = 100, 10, 4  # the real one has 500 and 100 images of each class


def images(of_each: int, pictures: np.ndarray, random: np.random.Generator) -> dict[bytes, object]:
    """What CIFAR-100 has in its files "train" and "test": 3 x 32 x 32 values in a row for each image."""
    labels = np.repeat(np.arange(CLASSES), of_each)
    random.shuffle(labels)
    data = pictures[labels] + random.normal(0, 60, (len(labels), 3072))
    return {
        b"data": data.clip(0, 255).astype(np.uint8),
        b"fine_labels": labels.tolist(),
        b"coarse_labels": (labels // 5).tolist(),
        b"filenames": [f"{number:05d}.png".encode() for number in range(len(labels))],
    }


def main() -> None:
    random = np.random.default_rng(100)
    pictures = random.normal(128, 8, (CLASSES, 3072))
    names = {
        b"fine_label_names": [f"class {n}".encode() for n in range(CLASSES)],
        b"coarse_label_names": [f"group {n}".encode() for n in range(CLASSES // 5)],
    }
    parts = {"meta": names, "test": images(TEST, pictures, random), "train": images(TRAIN, pictures, random)}
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=1) as file,
        tarfile.open(fileobj=file, mode="w") as tar,
    ):
        for name, part in parts.items():
            content = pickle.dumps(part, protocol=4)
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    target = pathlib.Path(sys.argv[1], "cifar-100-python.tar.gz")
    target.write_bytes(packed.getvalue())
    print(f"sha256:{hashlib.sha256(packed.getvalue()).hexdigest()}")


if __name__ == "__main__":
    main()
