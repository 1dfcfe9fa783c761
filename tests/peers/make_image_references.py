#!/usr/bin/env python3
"""make_image_references.py TOOLS FILE: writes tests/data/reference/images.npz, encoded images of all kinds with the pixels that Pillow 12 reads from them, and
what it makes of one picture at other sizes and by the crops. TOOLS is python-tools of scripts/setup.

NAME.encoded and NAME.pixels are an image; `picture`, and resample-FILTER-HEIGHTxWIDTH and crop-KIND-SIZE of it."""

import sys

import images_test


def main():
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    from PIL import Image

    images_test.np, images_test.Image = np, Image
    generator, arrays = np.random.default_rng(21), {}
    kept = ("(7, 13)", "(33, 47) 2", "(33, 47) {", "stored as RGB (33, 47)", "CMYK (33, 47)", "YCCK (33, 47)", "turned (8, 8)", "WebP (33, 47)", "PNG palette",
            "PNG grey tRNS", "PNG RGB tRNS", "PNG gamma")
    for name, data in (*images_test.pngs(generator), *images_test.jpegs(generator), *images_test.webps(generator)):
        if any(part in name for part in kept) and "95" not in name:
            name = "-".join("".join(c if c.isalnum() else " " for c in name).split()).lower()
            arrays[name + ".encoded"] = np.frombuffer(data, np.uint8)
            arrays[name + ".pixels"] = images_test.expected_pixels(data)
    picture = images_test.natural(generator, 60, 47, 3)
    arrays["picture"] = picture
    for name in images_test.FILTERS:
        for height, width in ((30, 23), (61, 100), (60, 9), (17, 47)):
            image = images_test.picture(picture).resize((width, height), getattr(Image.Resampling, name.upper()))
            arrays[f"resample-{name}-{height}x{width}"] = images_test.array_of(image)
    for size in (11, 16, 64):
        for name in ("adm", "edm", "torchvision"):
            arrays[f"crop-{name}-{size}"] = getattr(images_test, name)(images_test.picture(picture), size)
    np.savez_compressed(sys.argv[2], **arrays)
    print(*sorted(arrays), sep="\n")


if __name__ == "__main__":
    main()
