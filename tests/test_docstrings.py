"""The examples in the docstrings of everything public run and give what they show."""

import doctest
import inspect

import numpy as np
import pytest

import fastrelu as fr


def documented():
    """(name, object) for everything public that has a docstring of its own."""
    for name in fr.__all__:
        found = getattr(fr, name)
        if name == "ACTIVATIONS":
            continue
        yield name, found
        if isinstance(found, fr.Activation):
            for variant, activation in found.variants.items():
                if activation is not found:
                    yield f"{name}.{variant}", activation
                    yield f"{name}.{variant}.backward", activation.backward
        for pass_ in ("backward", "value_and_grad"):
            if hasattr(found, pass_):
                yield f"{name}.{pass_}", getattr(found, pass_)
        if inspect.isclass(found):
            for attribute, member in vars(found).items():
                own = getattr(member, "__module__", None) == found.__module__
                if own and not attribute.startswith("_") and inspect.getdoc(member):
                    yield f"{name}.{attribute}", member


OBJECTS = dict(documented())


@pytest.mark.parametrize("name", OBJECTS)
def test_examples(name):
    doc = inspect.getdoc(OBJECTS[name])
    assert doc, f"{name} has no docstring"
    namespace = {"np": np, "fr": fr}
    test = doctest.DocTestParser().get_doctest(doc, namespace, name, None, 0)
    report = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=report.append)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("name", [n for n in OBJECTS if isinstance(OBJECTS[n], fr.Activation)])
def test_activations_show_an_example(name):
    """Or the test above could be passing on nothing."""
    for doc in (OBJECTS[name].__doc__, OBJECTS[name].backward.__doc__):
        assert doctest.DocTestParser().get_examples(doc)


def test_signatures_name_the_parameters_of_the_table():
    for name, activation in fr.ACTIVATIONS.items():
        forward = inspect.signature(activation).parameters
        backward = inspect.signature(activation.backward).parameters
        assert next(iter(forward)) == "x", name
        assert list(backward)[:2] == ["dy", "x"], name
        for parameter in activation.row.parameters:
            default = inspect.Parameter.empty if parameter.default is None else parameter.shown_default
            assert forward[parameter.name].default == default
            assert backward[parameter.name].default == default
