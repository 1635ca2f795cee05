"""The part of YAML that k3s config files use: a top-level mapping of scalars and lists.

Scalars come back as the strings that k3s makes of them (yaml.v2's types, then Go's string of it: `yes` -> true, 010 -> 8).
Anything outside the subset is an error, never a guess.
"""
import json
import re


class YamlError(Exception):
    pass


def parse(text):
    """Returns a list of (key, value), value a string or a list of strings, in the file's order."""
    result = []
    open_list = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        stripped = line.lstrip(" ")
        if stripped == "" or stripped.startswith("#") or line in ("---", "..."):
            continue
        if stripped.startswith("\t"):
            raise YamlError(f"yaml: line {number}: found character that cannot start any token")
        indent = len(line) - len(stripped)
        if stripped == "-" or stripped.startswith("- "):
            if open_list is None:
                raise YamlError(f"yaml: line {number}: did not find expected key")
            open_list.append(_scalar(stripped[1:].strip(" "), number))
            continue
        if indent > 0:
            raise YamlError(f"yaml: line {number}: mapping values are not allowed in this context")
        key, rest = _key(stripped, number)
        if rest == "" or rest.startswith("#"):
            open_list = []
            result.append((key, open_list))
            continue
        open_list = None
        result.append((key, _flow_list(rest, number) if rest.startswith("[") else _scalar(rest, number)))
    return [(key, "" if value == [] and not _is_flow(value) else value) for key, value in result]


class _Flow(list):
    """A list written `[…]`; empty, it stays a list, where an empty block is null."""


def _is_flow(value):
    return isinstance(value, _Flow)


def _key(text, number):
    if text[0] in "\"'":
        value, rest = _quoted(text, number)
        rest = rest.lstrip(" ")
        if not rest.startswith(":"):
            raise YamlError(f"yaml: line {number}: could not find expected ':'")
        return value, rest[1:].strip(" ")
    match = re.match(r"([^\s:#\[\]{},&*!|>%@`\"'][^:#]*?)\s*:(?:\s+(.*))?$", text)
    if not match:
        raise YamlError(f"yaml: line {number}: could not find expected ':'")
    return match[1], (match[2] or "").strip(" ")


def _quoted(text, number):
    if text[0] == "'":
        match = re.match(r"'((?:[^']|'')*)'", text)
        if match:
            return match[1].replace("''", "'"), text[match.end() :]
    else:
        match = re.match(r'"(?:[^"\\]|\\.)*"', text)
        if match:
            try:
                return json.loads(match[0], strict=False), text[match.end() :]
            except ValueError:
                raise YamlError(f"yaml: line {number}: found unknown escape character") from None
    raise YamlError(f"yaml: line {number}: found unexpected end of stream")


def _scalar(text, number):
    if text == "":
        return ""
    if text[0] in "\"'":
        value, rest = _quoted(text, number)
        if rest.strip() and not rest.strip().startswith("#"):
            raise YamlError(f"yaml: line {number}: did not find expected key")
        return value
    plain = re.split(r"\s#", text, maxsplit=1)[0].rstrip()
    if plain.startswith("#"):
        return ""
    if plain[0] in "[]{},&*!|>%@`" or re.search(r":(\s|$)", plain):
        raise YamlError(f"yaml: line {number}: mapping values are not allowed in this context")
    return _plain(plain)


def _plain(text):
    if text in ("~", "null", "Null", "NULL"):
        return ""
    if text.lower() in ("y", "yes", "true", "on") and text in (text.lower(), text.upper(), text.capitalize()):
        return "true"
    if text.lower() in ("n", "no", "false", "off") and text in (text.lower(), text.upper(), text.capitalize()):
        return "false"
    number = text.replace("_", "")
    if re.fullmatch(r"[-+]?0[0-7]+", number):
        return str(int(number, 8))
    if re.fullmatch(r"[-+]?(0|[1-9]\d*)", number):
        return str(int(number))
    if re.fullmatch(r"0x[0-9a-fA-F]+", number):
        return str(int(number, 16))
    if re.fullmatch(r"[-+]?\d+\.\d*", number):
        return repr(float(number)).removesuffix(".0")
    return text


def _flow_list(text, number):
    items, rest = _Flow(), text[1:].lstrip(" ")
    while not rest.startswith("]"):
        if rest == "":
            raise YamlError(f"yaml: line {number}: did not find expected ',' or ']'")
        if rest[0] in "\"'":
            value, rest = _quoted(rest, number)
        else:
            match = re.match(r"[^,\]]*", rest)
            value, rest = _scalar(match[0].strip(" "), number), rest[match.end() :]
        items.append(value)
        rest = rest.lstrip(" ")
        if rest.startswith(","):
            rest = rest[1:].lstrip(" ")
        elif not rest.startswith("]"):
            raise YamlError(f"yaml: line {number}: did not find expected ',' or ']'")
    tail = rest[1:].strip(" ")
    if tail and not tail.startswith("#"):
        raise YamlError(f"yaml: line {number}: did not find expected key")
    return items
