"""threadpoolctl sees fastrelu's threads and limits them; without it nothing is imported."""

import pytest
from fresh import output

pytest.importorskip("threadpoolctl")
pytestmark = pytest.mark.usefixtures("kernels_only")

LISTED = """
def listed():
    return [i for i in threadpoolctl.threadpool_info() if i["internal_api"] == "fastrelu"]
"""
ORDERS = {
    "before fastrelu": "import threadpoolctl, fastrelu as fr",
    "after fastrelu": "import fastrelu as fr, threadpoolctl, fastrelu.threadpool",
    "by itself": "import threadpoolctl, fastrelu.threadpool, fastrelu.threadpool as again, fastrelu as fr",
    "after it had looked": "import threadpoolctl; threadpoolctl.threadpool_info(); import fastrelu as fr",
}


@pytest.mark.parametrize("order", ORDERS)
def test_limits(order):
    code = """
        fr.set_num_threads(3)
        (info,) = listed()
        assert info["user_api"] == "fastrelu" and info["num_threads"] == 3, info
        assert info["version"] == fr.__version__ and "ufuncs" in info["filepath"]
        with threadpoolctl.threadpool_limits(1):
            assert fr.get_num_threads() == 1 and listed()[0]["num_threads"] == 1
        assert fr.get_num_threads() == 3
        with threadpoolctl.threadpool_limits(2, user_api="fastrelu"):
            assert fr.get_num_threads() == 2
            with threadpoolctl.threadpool_limits({"fastrelu": 1}): assert fr.get_num_threads() == 1
            assert fr.get_num_threads() == 2
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            assert fr.get_num_threads() == 3
        threadpoolctl.threadpool_limits(4)
        assert fr.get_num_threads() == 4
    """
    output(code, start=ORDERS[order] + LISTED)


def test_limited_in_fact():
    code = """
        import numpy as np
        from fresh import task_names
        fr.set_num_threads(3)
        with threadpoolctl.threadpool_limits(1): fr.gelu(np.ones(10**6, np.float32))
        assert "fastrelu" not in task_names()
        assert fr.explain(fr.gelu, np.ones(10**6, np.float32)).threads == 3
    """
    output(code, start=ORDERS["before fastrelu"])


def test_a_namesake_is_not_taken_for_it(tmp_path):
    """Another package's module of the same name is left alone."""
    code = f"""
        import ctypes, pathlib, shutil
        own = pathlib.Path(listed()[0]["filepath"])
        shutil.copy(own, {str(tmp_path)!r})
        other = ctypes.CDLL({str(tmp_path)!r} + "/" + own.name)
        assert [i["filepath"] for i in listed()] == [str(own)]
        fastrelu_only = threadpoolctl.ThreadpoolController().select(internal_api="fastrelu")
        assert len(fastrelu_only.lib_controllers) == 1
    """
    output(code, start=ORDERS["before fastrelu"] + LISTED)


def test_it_is_not_imported_for_nothing():
    output("import sys, fastrelu; assert 'threadpoolctl' not in sys.modules", start="")


def test_a_version_that_knows_no_controllers(tmp_path):
    (tmp_path / "threadpoolctl.py").write_text("def threadpool_info():\n    return []\n")
    output(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import threadpoolctl, fastrelu", start="")
