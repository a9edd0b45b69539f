"""fastrelu's threads under threadpoolctl: ``threadpool_info()`` lists and ``threadpool_limits`` limits them.

Where threadpoolctl was imported before fastrelu this happens by itself; otherwise say
``import fastrelu.threadpool``.
"""

import os

import threadpoolctl

from . import __version__, control
from .backends import cython

__all__ = ["Controller"]


class Controller(threadpoolctl.LibController):
    """Stands for the loaded library in which the thread pool lives."""

    user_api = "fastrelu"
    internal_api = "fastrelu"
    # threadpoolctl knows libraries by how their file's name begins and by a symbol: not enough for this one,
    # so a namesake's is taken away below
    filename_prefixes = ("ufuncs.",)
    check_symbols = ("PyInit_ufuncs",)

    def set_additional_attributes(self):
        if cython.ufuncs is None or self.filepath != os.path.realpath(cython.ufuncs.__file__):
            self.dynlib = None

    def get_num_threads(self):
        return control.get_num_threads()

    def set_num_threads(self, num_threads):
        control.set_num_threads(num_threads)

    def get_version(self):
        return __version__


threadpoolctl.register(Controller)
