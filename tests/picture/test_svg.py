"""A terminal's screen as SVG."""

import re
from xml.etree import ElementTree as ET

from tests.picture.svg import picture

SCREEN = "\x1b[32m●\x1b[0m \x1b[1mwork\x1b[0m  ready & <well>\n\n  \x1b[2mlogin\x1b[0m    Alice\n"
TEXT = "{http://www.w3.org/2000/svg}text"


def test_a_screen_becomes_text_elements_on_a_grid() -> None:
    drawn = [
        (element.text, element.get("x"), element.get("y"), element.get("fill"), element.get("font-weight"))
        for element in ET.fromstring(picture("status", SCREEN, 40)).iter(TEXT)
    ]
    assert drawn == [
        ("$", "18.0", "49", "#929aab", None),
        ("status", "34.8", "49", None, "700"),
        ("●", "18.0", "69", "#5fd38d", None),
        ("work", "34.8", "69", None, "700"),
        ("ready & <well>", "85.2", "69", None, None),
        ("login", "34.8", "109", "#929aab", None),
        ("Alice", "110.4", "109", None, None),
    ]


def test_every_colour_has_enough_contrast_with_the_background() -> None:
    svg = picture("status", "\x1b[31ma\x1b[0m \x1b[32mb\x1b[0m \x1b[33mc\x1b[0m \x1b[2md\x1b[0m", 40)
    background, *_ = re.findall(r'<rect[^>]* fill="#(\w{6})"', svg)
    colours = re.findall(r'<(?:text|g)[^>]* fill="#(\w{6})"', svg)
    assert len(colours) > 4
    assert [colour for colour in colours if contrast(colour, background) < 4.5] == []


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2)."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
