# SPDX-License-Identifier: BSD-3-Clause
"""A strict stand-in for PyCPL, written from the rules of its contract alone; see docs/hosts.md."""

import enum
import sys
import types
from pathlib import Path

core = types.ModuleType("cpl.core")
ui = types.ModuleType("cpl.ui")
__path__ = []
sys.modules["cpl.core"], sys.modules["cpl.ui"] = core, ui


class Error(Exception):
    pass


class FileIOError(Error):
    pass


class IllegalInputError(Error):
    pass


core.Error, core.FileIOError, core.IllegalInputError = Error, FileIOError, IllegalInputError


class Msg:
    said = []

    @classmethod
    def _say(cls, level, component, text):
        assert isinstance(component, str)
        assert isinstance(text, str)
        assert "\n" not in text
        cls.said.append((level, component, text))

    debug = classmethod(lambda cls, c, t: cls._say("debug", c, t))
    info = classmethod(lambda cls, c, t: cls._say("info", c, t))
    warning = classmethod(lambda cls, c, t: cls._say("warning", c, t))
    error = classmethod(lambda cls, c, t: cls._say("error", c, t))


core.Msg = Msg


class _Parameter:
    def __init__(self, name, description, context, default):
        for text in (name, description, context):
            if type(text) is not str:
                raise TypeError("not a string")
        if type(default) not in (str, int, float, bool):
            raise TypeError("unsupported default")
        self.name, self.description, self.context = name, description, context
        self.default = self._value = default
        self.cli_alias = name

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        if isinstance(value, str) != isinstance(self.default, str):
            raise RuntimeError("wrong type")
        self._value = type(self.default)(value)


class ParameterValue(_Parameter):
    pass


class ParameterEnum(_Parameter):
    def __init__(self, name, description, context, default, alternatives):
        super().__init__(name, description, context, default)
        if not isinstance(alternatives, list) or default not in alternatives:
            raise IllegalInputError("default is no alternative")
        self.alternatives = alternatives


class ParameterList:
    def __init__(self, parameters=()):
        self._parameters = list(parameters)

    def __iter__(self):
        return iter(self._parameters)

    def __len__(self):
        return len(self._parameters)

    def __getitem__(self, key):
        if isinstance(key, int):
            return self._parameters[key]
        for parameter in self._parameters:
            if parameter.name == key:
                return parameter
        raise KeyError(key)


class Frame:
    FrameGroup = enum.Enum("FrameGroup", "NONE RAW CALIB PRODUCT")
    FrameLevel = enum.Enum("FrameLevel", "NONE TEMPORARY INTERMEDIATE FINAL")
    FrameType = enum.Enum("FrameType", "NONE IMAGE MATRIX TABLE ANY")

    def __init__(self, file, tag=None, group=None, level=None, frameType=None):  # noqa: N803
        if type(file) is not str:
            raise TypeError("file is a string")
        if not Path(file).is_file():
            raise FileIOError(file)
        self.file, self.tag = file, tag
        self.group = self._checked(group, self.FrameGroup)
        self.level = self._checked(level, self.FrameLevel)
        self.type = self._checked(frameType, self.FrameType)

    @staticmethod
    def _checked(value, kind):
        if value is None:
            return kind.NONE
        if not isinstance(value, kind):
            raise TypeError(kind.__name__)
        return value


class FrameSet:
    def __init__(self, frames=()):
        self._frames = []
        for frame in frames:
            self.append(frame)

    def append(self, frame):
        if not isinstance(frame, Frame):
            raise TypeError("not a frame")
        self._frames.append(frame)

    def __iter__(self):
        return iter(self._frames)

    def __len__(self):
        return len(self._frames)

    def __getitem__(self, index):
        return self._frames[index]


class PyRecipe:
    _name = _version = _author = _email = _copyright = _synopsis = _description = None

    def __new__(cls):
        for key in ("_name", "_version", "_author", "_email", "_copyright", "_synopsis", "_description"):
            if type(getattr(cls, key)) is not str:
                raise TypeError(f"{key} is not a string")
        if cls.run is PyRecipe.run:
            raise TypeError("run is abstract")
        return super().__new__(cls)

    def __init__(self):
        pass

    def run(self, frameset, settings):
        raise NotImplementedError

    @property
    def name(self):
        return self._name


for _thing in (ParameterValue, ParameterEnum, ParameterList, Frame, FrameSet, PyRecipe):
    setattr(ui, _thing.__name__, _thing)
