"""netscope's grammar and limits, and whether everything under prototxt/ keeps to them."""

from __future__ import annotations

import pytest

from conftest import REPO
from sjft_tools.nets.text import Word
from sjft_tools.netscope.grammar import GrammarError, read_fields
from sjft_tools.netscope.layers import shown_layers
from sjft_tools.netscope.rules import netscope_problems
from sjft_tools.netscope.shapes import inferred_shapes

FILES = sorted(str(p.relative_to(REPO)) for p in (REPO / "prototxt").rglob("*.prototxt"))
DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { DIMS } } }\n'.replace(
    "DIMS", "dim: 2 dim: 3 dim: 9 dim: 9"
)


def layer(name: str, kind: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {more} }}\n'


def shapes(text: str):
    return inferred_shapes(read_fields('name: "n"\n' + text))


def problems(text: str) -> list[str]:
    return [f"{line}: {why}" for line, why in netscope_problems('name: "n"\n' + text)]


@pytest.mark.parametrize("file", FILES)
def test_every_published_file_opens(file):
    assert netscope_problems((REPO / file).read_text(encoding="utf-8")) == []


def test_there_are_published_files():
    assert len(FILES) > 10


@pytest.mark.parametrize(
    "file", [file for file in FILES if "deploy" in file], ids=lambda file: file[9:-9]
)
def test_deploy_nets_show_every_shape(file):
    fields = read_fields((REPO / file).read_text(encoding="utf-8"))
    found = inferred_shapes(fields)
    assert found.stopped is None
    blobs = {top for each in shown_layers(fields) for top in each.tops}
    assert set(found.shapes) == blobs and len(blobs) > 20


def test_values_are_read():
    text = """# a comment
    name: 'it\\'s' # another
    a: -1.5e-3 b:true C : "\\u00fc\\n" d { e: MAX } f: { g: 0 } h: -inf
    """
    read = {field.name: field.value for field in read_fields(text)}
    assert read.pop("d")[0].value == Word("MAX") and read.pop("f")[0].value == 0
    assert read == {"name": "it's", "a": -0.0015, "b": "true", "c": "ü\n", "h": "-inf"}
    assert [field.line for field in read_fields(text)] == [2, 3, 3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a: .5", 1, "a number must have a digit before its point"),
        ("a: 1.\nb: 2", 1, "a number must have digits on both sides of its point"),
        ("a: -.5", 1, "a number must have digits on both sides of its point"),
        ("a: +1", 1, "a number cannot begin with +"),
        ("a: 007", 1, "007 is read as 0 and a name"),
        ("a: 0x1F", 1, "0x1F is read as 0 and a name"),
        ("a: 1f", 1, "1f is read as 1 and a name"),
        ("b: 1\na: 'x' \"y\"", 2, "strings side by side are not joined"),
        ("a: 'x\ny'", 1, "a string must end on the line on which it begins"),
        ("a: 'x", 1, "a string must end on the line on which it begins"),
        ("a: 'x\ty'", 1, "must not hold a tab"),
        (r"a: '\x41'", 1, r"the escape \x is unknown"),
        (r"a: '\101'", 1, r"the escape \1 is unknown"),
        ("a: 1; b: 2", 1, "separated by spaces alone"),
        ("a: 1, b: 2", 1, "separated by spaces alone"),
        ("a < b: 1 >", 1, "a message stands in { }"),
        ("a: [1, 2]", 1, "lists in [ ] are unknown"),
        ("[a.b]: 1", 1, "names in [ ] are unknown"),
        ("a: # why\n 1", 1, "no comment may stand between"),
        ("a # why\n { }", 1, "no comment may stand between"),
        ("a {\n b: 1", 2, "a { is never closed"),
        ("a: 1 }", 1, "this } closes nothing"),
        ("a", 1, "expected : or { behind 'a'"),
        ("a: }", 1, "expected a value of 'a', got '}'"),
        ("\ufeffa: 1", 1, "byte order mark"),
        ("# nothing\n", 2, "there is no field at all"),
        ("a: 1 \f b: 2", 1, "expected a field's name"),
    ],
)
def test_grammar(text, line, why):
    with pytest.raises(GrammarError) as caught:
        read_fields(text)
    assert caught.value.problem.line == line
    assert why in caught.value.problem.text
    assert netscope_problems(text) == [caught.value.problem]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            DATA + 'layer { name: "a" type: "X" include { phase: TRAIN } include { phase: TEST } }',
            "3: only the last include of a layer counts",
        ),
        (
            'layer { name: "a" type: "X"\n include { stage: "s" } }',
            "3: 'stage' in an include is ignored",
        ),
        ('layer { name: "a" type: "X" exclude { phase: TEST } }', "2: 'exclude' is ignored"),
        ('layer { type: "X" }', "2: a layer has no name"),
        ('layer { name: "a" }', "2: a layer has no type"),
        (DATA + 'layer { name: "data" type: "X" bottom: "data" top: "b" }', "3: two layers of"),
        (DATA + DATA.replace('name: "data"', 'name: "b"'), "3: 'b' writes the blob 'data', which"),
        (layer("a", "ReLU", "x", "y"), "2: 'a' reads the blob 'x', which no layer"),
        (
            DATA + 'layer { name: "a" type: "X" bottom: "data" bottom: "data" top: "data" }',
            "3: 'a' writes over one of several blobs",
        ),
        (
            DATA + 'layer {\n name: "a" type: "X"\n bottom: "data" param { }\n bottom: "data" }',
            "6: 'bottom' comes again behind a message",
        ),
        (
            DATA + layer("a", "Pooling", "data", "a", "pooling_param { global_pooling: false }"),
            "3: 'global_pooling: false' is taken for true",
        ),
    ],
)
def test_rules(text, expected):
    assert any(found.startswith(expected) for found in problems(text)), problems(text)


def test_the_first_thing_must_be_a_field():
    [problem] = netscope_problems(DATA)
    assert problem.line == 1 and "begin the file with name" in problem.text


def test_what_is_right_is_no_problem():
    test = DATA.replace("input_param", "include { phase: TEST } input_param")
    text = DATA + test + layer("relu", "ReLU", "data", "data") + layer("b", "LRN", "data", "b")
    assert problems(text) == []
    assert problems('input: "x" input_dim: 1\n' + layer("a", "ReLU", "x", "y")) == []
    assert [shown.name for shown in shown_layers(read_fields(text))] == ["data", "relu", "b"]


CONVOLUTION = "convolution_param {{ num_output: 5 {} }}"
POOLING = "pooling_param {{ {} }}"


@pytest.mark.parametrize(
    ("kind", "params", "shape"),
    [
        ("Convolution", CONVOLUTION.format("kernel_size: 3 stride: 2 pad: 1"), (2, 5, 5, 5)),
        ("Convolution", CONVOLUTION.format("kernel_h: 3 kernel_w: 1 pad_h: 1"), (2, 5, 9, 9)),
        ("Convolution", CONVOLUTION.format("kernel_size: 3 dilation: 2"), (2, 5, 5, 5)),
        ("Deconvolution", CONVOLUTION.format("kernel_size: 4 stride: 2 pad: 1"), (2, 5, 18, 18)),
        ("Pooling", POOLING.format("kernel_size: 2 stride: 2"), (2, 3, 5, 5)),
        ("Pooling", POOLING.format("kernel_size: 3 stride: 2 pad: 1"), (2, 3, 5, 5)),
        ("Pooling", POOLING.format("global_pooling: true"), (2, 3, 1, 1)),
        ("InnerProduct", "inner_product_param { num_output: 7 }", (2, 7)),
        ("SoftmaxWithLoss", "", (1,)),
        ("BatchNorm", "", (2, 3, 9, 9)),
    ],
)
def test_shapes(kind, params, shape):
    assert shapes(DATA + layer("a", kind, "data", "a", params)).shapes["a"] == shape


def test_shapes_of_several_bottoms():
    two = DATA + layer("a", "ReLU", "data", "a")
    joined = two + layer("c", "Concat", "a", "c", 'bottom: "data" concat_param { axis: 0 }')
    assert shapes(joined).shapes["c"] == (4, 3, 9, 9)
    size = DATA.replace("data", "size").replace("dim: 2 dim: 3", "dim: 1 dim: 2")
    crop = two + size + layer("c", "Crop", "a", "c", 'bottom: "size" crop_param { axis: 0 }')
    assert shapes(crop).shapes["c"] == (1, 2, 9, 9)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('layer { name: "d" type: "Python" top: "d" }', "its type is unknown, and it has more"),
        ('layer { name: "d" type: "Data" top: "d" }', "neither input_param nor crop_size"),
        (DATA.replace(" dim: 3 dim: 9 dim: 9", ""), "a shape of a single number cannot be read"),
        (
            'layer { name: "d" type: "Data" top: "d" top: "l" top: "i"'
            " transform_param { crop_size: 9 } }",
            "top 'i' is one too many",
        ),
        (DATA + layer("a", "Slice", "data", "a", 'top: "b"'), "it has more tops than bottoms"),
        (DATA + layer("a", "Eltwise", "data", "b", 'bottom: "x"'), "the shape of 'x' is unknown"),
        (DATA + layer("a", "Convolution", "data", "b"), "it has no num_output"),
        (DATA + layer("a", "Concat", "data", "b", "concat_param { axis: -1 }"), "an axis -1"),
    ],
)
def test_where_shapes_end(text, why):
    found = shapes(text + layer("last", "ReLU", "data", "last"))
    assert found.stopped is not None and why in found.stopped.text
    assert "last" not in found.shapes
