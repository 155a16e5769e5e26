"""The strict YAML reader: what it keeps, and what it refuses before anything is built."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ScenarioError
from palm.sim.scenario.yaml_strict import BYTES_MAX, Items, Node, Table, Text, at, parse, read_file


def refused(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse(text, "x.yaml")
    return str(caught.value)


def plain(node: Node) -> object:
    match node:
        case Text():
            return node.value
        case Items():
            return [plain(item) for item in node.items]
        case Table():
            return {key: plain(value) for key, value in node.entries.items()}


def test_a_node_knows_the_line_of_its_key_and_its_path():
    """The place of a value is where the reader's eye looks for it: at its key."""
    node = at(parse("a:\n  b:\n    - x\n    - {c:\n        1}\n", "x.yaml"), "a", "b", 1, "c")
    assert (node.place.line, node.place.path) == (4, "a.b[1].c")


CHARACTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])  # JSON escapes the others as two halves
KEYS = st.text(CHARACTERS, min_size=1, max_size=100)  # YAML looks 1,024 characters ahead for the colon
TREES = st.recursive(
    st.text(CHARACTERS), lambda some: st.lists(some, max_size=4) | st.dictionaries(KEYS, some, max_size=4)
)


@given(TREES)
def test_what_json_can_quote_comes_back_unchanged(tree):
    """JSON is YAML: every tree of quoted text is read as it was written."""
    assert plain(parse(json.dumps(tree), "x.yaml")) == tree


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_with_its_file_and_line(text):
    """Whatever is in a file, the only exception is a ScenarioError that names the place."""
    try:
        parse(text, "x.yaml")
    except ScenarioError as error:
        assert str(error).startswith("x.yaml:")


@given(st.text(alphabet="abc:-[]{}&*!|>'\"# \n1.,?%@<=", max_size=80))
def test_what_is_read_is_what_pyyaml_reads(text):
    """Strict only refuses: keys and structure of what it takes are those of PyYAML's own loader."""
    try:
        node = parse(text, "x.yaml")
    except ScenarioError:
        return
    assert plain(node) == yaml.load(text, Loader=yaml.BaseLoader)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: 2\n", "x.yaml:1: a: YAML anchors are not taken: delete &x"),
        ("a: 1\nb: *x\n", "x.yaml:2: b: YAML aliases are not taken: write the value of *x out"),
        ("a: !!str 1\n", "x.yaml:1: a: YAML tags are not taken: delete the tag tag:yaml.org,2002:str"),
        ("a: !!python/object/apply:os.system [ls]\n", "x.yaml:1: a: YAML tags are not taken"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "x.yaml:4: a.b: the key is here twice (first in line 2)"),
        ("runs:\n  on: [sim]\n", "x.yaml:2: runs: expected a key that is text, found the YAML boolean on"),
        ("3: x\n", "x.yaml:1: expected a key that is text, found the number 3; quote it"),
        ("? [a]\n: x\n", "x.yaml:1: expected a key that is text, found a list of 1"),
        ("<<: {a: 1}\n", "x.yaml:1: expected a key that is text"),
        ("a: 12:30:45\n", "x.yaml:1: a: YAML takes '12:30:45' for a number in base 60"),
        ("a: 2026-11-23\n", "x.yaml:1: a: YAML takes '2026-11-23' for a date"),
        ("%YAML 1.1\n---\na: 1\n", "x.yaml:1: YAML directives are not taken"),
        ("a: 1\n---\nb: 1\n", "x.yaml:2: a second document begins here"),
        ("", "x.yaml:1: expected a scenario, found an empty file"),
        ('a: "\\ud800"\n', "x.yaml:1: a: an escape of half a character"),
        ("a: [1\nb: 2\n", "x.yaml:2: this is not YAML"),
        ("a: \x07\n", "x.yaml:1: this is not YAML: special characters are not allowed (U+0007)"),
        ("\n\na: '\n", "x.yaml:4: this is not YAML"),
    ],
)
def test_what_yaml_would_guess_is_refused_with_its_place(text, said):
    """Aliases, tags, doubled keys, booleans as keys, dates and base 60: file, line, key and the way out."""
    assert refused(text).startswith(said)


def test_quoting_makes_text_of_what_yaml_would_guess():
    """The way out that the errors name works."""
    assert plain(parse("a: '12:30:45'\n'on': \"2026-11-23\"\n", "x.yaml")) == {"a": "12:30:45", "on": "2026-11-23"}


def test_aliases_that_multiply_are_refused_before_they_are_built():
    """A bomb of aliases costs no memory: the first anchor ends it."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    tracemalloc.start()
    said = refused("a0: &a0 [x]\n" + "\n".join(levels))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "a0: YAML anchors are not taken" in said and peak < 4 << 20


def test_ten_megabytes_of_aliases_are_refused_by_their_size():
    """Size is looked at first."""
    assert "at most 1048576 bytes" in refused("a: &a x\n" + "- *a\n" * 2_000_000)


@pytest.mark.parametrize("text", ["[" * 3000, "- " * 3000, "a: " + "{a: " * 3000, "? " * 3000])
def test_three_thousand_levels_are_refused_at_the_fifty_first(text):
    """No recursion error, in any of YAML's ways to nest."""
    assert "nested deeper than 50 levels" in refused(text)


def test_fifty_levels_are_taken():
    """The limit itself is inside."""
    assert plain(parse("[" * 49 + "x" + "]" * 49, "x.yaml"))


def test_more_nodes_than_the_limit_are_refused():
    """Keys count too."""
    assert "at most 100000 keys and values" in refused("[" + "x," * 100_000 + "]")


def test_a_file_over_the_limit_is_not_read_to_its_end(tmp_path: Path):
    """One byte more than a MiB is enough to refuse."""
    file = tmp_path / "big.yaml"
    file.write_bytes(b"#" * (BYTES_MAX + 1))
    with pytest.raises(ScenarioError, match="at most 1048576 bytes"):
        read_file(file)


def test_a_file_that_is_not_utf8_names_the_line_and_the_byte(tmp_path: Path):
    """Bytes of another encoding are found where they are."""
    file = tmp_path / "latin.yaml"
    file.write_bytes("a: b\nc: é\n".encode("latin-1"))
    with pytest.raises(ScenarioError, match=r"latin\.yaml:2: expected UTF-8 text, found the byte 0xe9"):
        read_file(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    """So is a directory."""
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ScenarioError, match="cannot be read"):
            read_file(path)


def test_errors_show_at_most_two_hundred_characters_of_a_value():
    """A hostile file does not fill the terminal."""
    assert len(refused(f"{'k' * 5000}: 2026-11-23\n")) < 500
