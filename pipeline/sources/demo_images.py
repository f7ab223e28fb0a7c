"""draft"""
import io, colorsys
from pathlib import Path
import numpy as np
from PIL import Image, ImageChops, ImageDraw
from .demo_motifs import FIELDS, MOTIF_PX, sheet

CLASSES = tuple(FIELDS)


def _draw_colour(random, value_low=0.1, value_high=1.0):
    hue, saturation, value = random.uniform((0, 0.25, value_low), (1, 0.95, value_high))
    return tuple(int(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, value))

def _luminance(c):
    return (0.299*c[0]+0.587*c[1]+0.114*c[2])/255

def _draw_colour_pair(random, contrast=0.3):
    while True:
        a, b = _draw_colour(random), _draw_colour(random)
        if abs(_luminance(a)-_luminance(b)) > contrast:
            return a, b

def _draw_backdrop(random, size):
    return Image.fromarray(random.integers(20, 236, (3, 3, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)

def _outline(random, side):
    """corners of a scrap, centred at origin: a rounded polygon"""
    kind = random.integers(3)
    turn = random.uniform(0, 2*np.pi)
    if kind == 0:
        angles = np.linspace(0, 2*np.pi, 40, endpoint=False)
        aspect = random.uniform(0.7, 1)
        pts = np.stack([np.cos(angles), aspect*np.sin(angles)], 1) * 0.56
    elif kind == 1:
        aspect = random.uniform(0.7, 1.0)
        pts = np.array([(-1, -aspect), (1, -aspect), (1, aspect), (-1, aspect)]) * 0.5
    else:
        n = random.integers(5, 9)
        angles = (np.arange(n) + random.uniform(-.25, .25, n)) * 2*np.pi/n
        pts = np.stack([np.cos(angles), np.sin(angles)], 1) * 0.58
    c, s = np.cos(turn), np.sin(turn)
    return pts @ np.array([[c, -s], [s, c]]) * side

def _paste_scrap(picture, random, name, centre, side, motif_px):
    outline = _outline(random, side)
    low = np.floor(outline.min(0)).astype(int) - 1
    size = tuple(int(x) for x in np.ceil(outline.max(0)).astype(int) + 2 - low)
    mask = Image.new("L", size)
    corners = [tuple(p) for p in (outline - low).tolist()]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    scale = MOTIF_PX / motif_px
    turn = random.uniform(0, 2*np.pi)
    c, s = scale*np.cos(turn), scale*np.sin(turn)
    ox, oy = random.uniform(-128, 128, 2) + 512
    mx, my = size[0]/2, size[1]/2
    cloth = sheet(name).transform(size, Image.Transform.AFFINE, (c, -s, ox - c*mx + s*my, s, c, oy - s*mx - c*my), Image.Resampling.BILINEAR)
    a, b = _draw_colour_pair(random)
    scrap = Image.new("RGB", size, a)
    scrap.paste(b, (0, 0), cloth)
    at = tuple(int(x) for x in np.round(centre).astype(int) + low)
    shade = 5
    picture.paste((0, 0, 0), (at[0]+shade, at[1]+shade), mask.point(lambda x: x * 0.45))
    picture.paste(scrap, at, mask)

def _gradient(random, size, n, lo, hi, sat=(0.3,0.95)):
    hue = random.uniform(0, 1, (n, n)); s = random.uniform(*sat, (n, n)); v = random.uniform(lo, hi, (n, n))
    rgb = np.array([colorsys.hsv_to_rgb(*x) for x in zip(hue.ravel(), s.ravel(), v.ravel())]).reshape(n, n, 3)
    return Image.fromarray((255*rgb).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)

def draw(seed, index, name, p):
    random = np.random.default_rng((seed, index))
    w, h = (int(x) for x in random.integers(p["lo"], p["hi"]+1, 2))
    unit = (w*h)**.5
    motif_px = unit*np.exp(random.uniform(np.log(p["mlo"]), np.log(p["mhi"])))
    scale = MOTIF_PX / motif_px
    turn = np.deg2rad(random.uniform(-p["tilt"], p["tilt"]))
    c, s = scale*np.cos(turn), scale*np.sin(turn)
    ox, oy = random.uniform(-128, 128, 2) + 512
    cloth = sheet(name).transform((w, h), Image.Transform.AFFINE, (c, -s, ox - c*w/2 + s*h/2, s, c, oy - s*w/2 - c*h/2), Image.Resampling.BILINEAR)
    level = np.arange(256) - 127.5 + 510*random.uniform(-p["thick"], p["thick"])
    cloth = cloth.point([int(x) for x in np.clip(127.5 + level * motif_px / 510*255/p["soft"], 0, 255)])
    con = random.uniform(*p["con"]); mid = random.uniform(*p["mid"])
    a = _gradient(random, (w, h), p["n"], mid + con*.15, min(1, mid + con*.5), (.2, .9)); b = _gradient(random, (w, h), p["n"], max(.03, mid - con*.5), mid - con*.15)
    if p["swap"] and random.random() < .5: a, b = b, a
    return Image.composite(a, b, cloth)

P = dict(lo=333, hi=560, mlo=0.13, mhi=0.2, tilt=12, n=6, swap=1, thick=.03, soft=1.5, con=(.6, 1), mid=(.45,.55))

def encode(picture):
    b = io.BytesIO(); picture.save(b, "JPEG", quality=90); return b.getvalue()
