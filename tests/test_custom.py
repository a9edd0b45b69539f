"""A user's activation is like any other: the tests of the built-in ones, on built-in ones written again."""

import inspect
import itertools

import numpy as np
import pytest

pytest.importorskip("numba")

import calls
import cases
import own
import test_conformance
import test_errors
import test_gradients
import test_keywords
import test_layouts
import test_protocols
from test_protocols import library  # noqa: F401

import fastrelu as fr
from fastrelu import dispatch
from fastrelu.backends import cython

NAME = "leaky_relu"
FORWARD = [NAME]
PASSES = [NAME, f"{NAME}.backward", f"{NAME}.backward_from_y", f"{NAME}.backward_wrt_negative_slope"]


@pytest.fixture
def twin(monkeypatch):
    """The tests of leaky_relu get the one of own.py."""
    entrypoints = pytest.importorskip("numba.core.entrypoints")
    entrypoints.init_all()  # Numba learns the public names once: not while one is exchanged
    theirs, builtin = own.leaky_relu, fr.leaky_relu
    elementwise, codes = dispatch.elementwise, theirs.codes
    kernels = {k: k.pass_ for k in builtin.row.kernels().values() if k.pass_ in codes}

    monkeypatch.setitem(fr.ACTIVATIONS, NAME, theirs)
    monkeypatch.setattr(fr, NAME, theirs)
    monkeypatch.setattr(
        dispatch, "elementwise", lambda k: codes[kernels[k]].call if k in kernels else elementwise(k)
    )
    for module in (test_errors, test_gradients):
        monkeypatch.setitem(module.ACTIVATIONS, NAME, theirs)
    monkeypatch.setitem(test_protocols.OBJECTS, NAME, theirs)
    monkeypatch.setitem(test_protocols.OBJECTS, f"{NAME}.backward", theirs.backward)
    for kernel, pass_ in kernels.items():
        monkeypatch.setitem(cython.UFUNCS, kernel, codes[pass_].ufunc)
    return theirs


def bodies():
    """Tests, with the values of their arguments but for fixtures."""
    of_passes = [
        test_conformance.test_nothing_flows_where_the_slope_is_zero,
        test_conformance.test_no_floating_point_flag_is_raised,
        test_conformance.test_special_values,
        test_conformance.test_special_values_in_every_lane,
        test_conformance.test_short_arrays_at_every_offset,
        test_layouts.test_layouts,
        test_layouts.test_one_operand_of_each_layout,
        test_layouts.test_broadcasting,
        test_layouts.test_dimensions,
        test_layouts.test_out,
        test_layouts.test_in_place,
        test_layouts.test_overlapping_out,
        test_layouts.test_overlap_in_two_dimensions_and_two_dtypes,
        test_keywords.test_bfloat16,
        test_protocols.test_subclasses_stay,
        test_protocols.test_foreign_arrays_come_back_as_their_kind,
        test_protocols.test_foreign_arrays_are_written_without_a_copy,
        test_protocols.test_gradients_reach_array_ufunc,
    ]
    of_forward = [
        test_keywords.test_where,
        test_keywords.test_dtype_and_casting,
        test_keywords.test_order_and_subclasses,
        test_keywords.test_scalars_and_lists,
        test_keywords.test_integers_and_bools,
        test_keywords.test_results_are_fresh_and_inputs_untouched,
        test_protocols.test_only_the_given_keywords_reach_array_ufunc,
        test_protocols.test_a_type_may_decline,
        test_protocols.test_masked_arrays_keep_their_mask,
        test_protocols.test_objects_with_an_array_inside,
        test_protocols.test_where_without_out_warns_as_numpy_does,
        test_errors.test_only_real_dtypes,
        test_errors.test_objects_that_are_no_arrays,
        test_errors.test_out_of_the_wrong_shape_or_read_only,
        test_errors.test_out_that_is_no_array_or_has_another_dtype,
        test_errors.test_calls_that_do_not_fit_the_signature,
        test_errors.test_parameters_given_twice_or_not_at_all,
        test_errors.test_parameters_that_do_not_broadcast,
        test_errors.test_keywords_fail_as_for_numpy,
        test_errors.test_both_of_x_and_y_or_neither,
        test_errors.test_an_incoming_gradient_of_another_shape,
        test_errors.test_gradients_of_what_there_is_not,
        test_gradients.test_gradients_of_integers_are_floating,
        test_gradients.test_what_is_returned,
        test_gradients.test_broadcast_axes_are_summed,
        test_gradients.test_out_may_be_any_operand,
        test_gradients.test_from_the_output_of_an_in_place_forward_pass,
    ]
    for names, tests in ((PASSES, of_passes), (FORWARD, of_forward)):
        for test in tests:
            for name in names:
                yield pytest.param(test, name, id=f"{test.__name__[5:]}-{name}")


def combinations(test, name):
    """What pytest would give the test for parameters when its name is this one; no long double."""
    choices = []
    for mark in (m for m in test.pytestmark if m.name == "parametrize"):
        names, values = mark.args[:2]
        names = (names,) if isinstance(names, str) else names
        rows = [(v,) if len(names) == 1 else v for v in values if v is not np.longdouble]
        if "name" in names:
            rows = [row for row in rows if row[names.index("name")] == name]
        choices.append([dict(zip(names, row, strict=True)) for row in rows])
    return [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*choices)]


@pytest.mark.parametrize(("test", "name"), bodies())
def test_as_a_builtin_one(test, name, twin, request):
    fixtures = inspect.signature(test).parameters.keys()
    found = combinations(test, name)
    assert found or test.__name__ == "test_gradients_reach_array_ufunc"
    for given in found:
        if "call" in fixtures:
            given["call"] = calls.CALLS[given["via"]](*cases.BY_NAME[name])
        test(**given | {f: request.getfixturevalue(f) for f in fixtures - given.keys()})
