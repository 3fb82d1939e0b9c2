"""Why a file is no YAML, in plain words and with the line to look at: a parser tells of tokens and block ends."""

import re

import yaml

INDENTED = "the indentation fits no line above; give the keys of one mapping, or the items of one list, the same"
DEEPER = "indented deeper than the line before, which has its value already; give both the same indentation"
COLON = "a colon where no key can be; put a text that has a colon in quotes"
QUOTE_IT = "put the text in quotes"

UNEXPECTED = {
    "<block mapping start>": INDENTED,
    "<block sequence start>": INDENTED,
    "-": "a list item among keys; a list stands below a key of its own",
    "]": "a ] that closes nothing; a text with brackets needs quotes",
    "}": "a } that closes nothing; a text with braces needs quotes",
    "<scalar>": "text after the end of a value; put all of it in one pair of quotes",
    ":": "a colon without a key before it",
}
SAID = (
    (r"'\\t'", "a tab; YAML is indented with spaces"),
    (r"found character (.*) that cannot start any token", f"a text cannot begin with {{}}; {QUOTE_IT}"),
    (
        r"found undefined alias '(.*)'",
        f"*{{0}} refers to an anchor &{{0}}, which there is not; {QUOTE_IT} if it is one",
    ),
    (r"constructor for the tag '(.*)'", f"{{}} is a tag that nothing reads; {QUOTE_IT} if it is one"),
    (r"found unknown escape character '(.*)'", "\\{} means nothing between double quotes; use single quotes"),
    (r"unhashable key", f"braces or brackets where a key should be; {QUOTE_IT} if it is one"),
    (r"found another document", "a second document begins here; a file has one, so take the `---` away"),
)
UNCLOSED = {"while scanning a quoted scalar": "quote", "flow sequence": "[", "flow mapping": "{"}


def explain_yaml(error: yaml.YAMLError, text: str) -> tuple[int | None, str]:
    """The line, from 1, and what is wrong there."""
    if isinstance(error, yaml.reader.ReaderError):
        return text[: error.position].count("\n") + 1, f"the character U+{error.character:04X} is not allowed"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return None, str(error)
    line = error.problem_mark.line
    begun = error.context_mark.line if error.context_mark else line
    problem, context = error.problem or str(error), error.context or ""
    for opening, sign in UNCLOSED.items():
        if opening in context and ("end of stream" in problem or problem.startswith("expected ',' or")):
            comma = "" if "stream" in problem else ", or a comma is missing in it"
            return begun + 1, f"the {sign} that opens here is never closed{comma}"
    if problem == "could not find expected ':'":
        return begun + 1, "neither `key: value` nor `- item`; a text of several lines is indented below its key"
    return line + 1, _plain(problem, context, text.splitlines(), line, error.problem_mark.column)


def _plain(problem: str, context: str, lines: list[str], line: int, column: int) -> str:
    if "mapping values are not allowed" in problem:
        return DEEPER if _is_deeper(lines, line, column) else COLON
    for pattern, words in SAID:
        if found := re.search(pattern, problem):
            return words.format(*found.groups())
    if found := re.search(r"expected <block end>, but found '(.*)'", problem):
        return UNEXPECTED.get(found[1], INDENTED)
    return f"{context} {problem}".strip() if problem.startswith("but ") else problem


def _is_deeper(lines: list[str], line: int, column: int) -> bool:
    """Whether the colon is the line's own key, and the line before a complete one with less indentation."""
    key = lines[line][:column]
    above = next((text for text in reversed(lines[:line]) if text.strip() and not text.lstrip().startswith("#")), "")
    return ":" not in key and _indent(above) < _indent(lines[line]) and not above.rstrip().endswith(":")


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))
