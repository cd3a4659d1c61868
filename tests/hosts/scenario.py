# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: PTH117, PTH119, PTH123, PTH208
"""One session with python-cpl's interface, run by the tests with python-cpl itself and with our look-alike.

``scenario.py <module> <recipe folder> <recipe> <tag> <table tag> <image tag> <files...>`` prints
one JSON object, question -> answer.
"""

import importlib
import json
import logging
import os
import sys

module, folder, name, raw_tag, table, image = sys.argv[1:7]
files = sys.argv[7:]
cpl = importlib.import_module(module)
cpl.Recipe.path = folder
answers = {}


def shown(value):
    """Return an answer that does not depend on the implementation."""
    if isinstance(value, list | tuple) and hasattr(value, "writeto"):
        return "HDUList"
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def ask(question, function):
    """Note the answer, or the class of the error."""
    try:
        answers[question] = shown(function())
    except Exception as error:
        kinds = [
            kind.__name__
            for kind in type(error).__mro__
            if kind.__name__ not in ("IOError", "EnvironmentError", "UnknownNameError")
        ]
        answers[question] = ["error", kinds[0]]


def setting(where, key, value):
    """Return a function that sets an attribute and reads it back."""

    def act():
        setattr(where, key, value)
        found = getattr(where, key)
        return repr(found), getattr(found, "value", getattr(found, "frames", None))

    return act


recipe = cpl.Recipe(name)
param, calib = recipe.param, recipe.calib
ask("listed", lambda: (name, ["2.8.7"]) in cpl.Recipe.list())
ask("unknown recipe", lambda: cpl.Recipe("muse_no_such"))
ask("wrong version", lambda: cpl.Recipe(name, version="1.2.3"))
ask("versions", lambda: [cpl.Recipe(name, version=v).version for v in (20807, "2.8.7")])
ask("texts", lambda: (recipe.__name__, recipe.__version__, recipe.description[0], repr(recipe)))
ask("tags", lambda: (recipe.tags, recipe.tag, recipe.output))
ask("tag", lambda: setattr(recipe, "tag", "NOPE"))
ask("set tags", lambda: setattr(recipe, "tags", ["A"]))
ask("defaults", lambda: (recipe.output_dir, recipe.temp_dir, recipe.env, recipe.threaded, recipe.mtrace))
ask(
    "parameters",
    lambda: [(p.name, p.fullname, p.context, p.default, p.value, p.range, p.sequence) for p in param],
)
ask("types", lambda: [(p.type.__name__, p.enabled) for p in param])
ask("str and repr", lambda: [(str(p), repr(p)) for p in param])
ask("sizes", lambda: (len(param), "nrow" in param, f"muse.{name}.nrow" in param, "nope" in param, dir(param)))
for key, value in (
    ("nrow", 5), ("nrow", "7"), ("nrow", 7.9), ("nrow", "7.9"), ("nrow", "x"), ("nrow", True), ("nrow", None),
    ("scale", "3"), ("scale", 4), ("scale", "y"), ("strict", "false"), ("strict", "no"), ("strict", "FALSE"),
    ("strict", 0), ("strict", "yes"), ("method", "median"), ("method", "Median"), ("title", 5), ("title", ""),
    ("nope", 1),
):  # fmt: skip
    ask(f"param.{key} = {value!r}", setting(param, key, value))
ask("as dict", lambda: dict(iter(param)))
ask("equal", lambda: (param == dict(iter(param)), param == {}, param.nrow == 3))
ask("by full name", lambda: repr(param[f"muse.{name}.scale"]))
ask("item", lambda: param.__setitem__("nope", 1))


def deleted():
    param.nrow = 9
    del param.nrow
    return repr(param.nrow)


ask("del param", deleted)


def replaced(values):
    """Return a function that replaces all parameters."""

    def act():
        recipe.param = values
        return [(p.name, p.value) for p in recipe.param]

    return act


with open("some.rc", "w") as stream:
    stream.write(f"muse.{name}.nrow=8\nmuse.{name}.scale=2.5\n")
ask("param = dict", replaced({"nrow": 3, f"muse.{name}.scale": 3.5}))
ask("param = unknown", replaced({"nope": 3}))
ask("param = rc file", replaced("some.rc"))
ask("param = rc text", replaced(f"muse.{name}.nrow = 77\n"))
with open("some.rc") as stream:
    ask("param = open file", replaced(stream))
ask("param = {}", replaced({}))
ask("calib", lambda: [(c.tag, c.min, c.max, c.frames) for c in calib])
ask("calib.X = f", setting(calib, "TEST_MASK", files[0]))
ask("calib.NOPE = f", setting(calib, "NOPE", files[0]))
ask("calib text", lambda: (str(calib), len(calib), "TEST_MASK" in calib))
ask("calib item", lambda: calib["NOPE"])
ask("calib = unknown", lambda: setattr(recipe, "calib", {"NOPE": files[0]}))
with open("some.sof", "w") as stream:
    stream.write(f"{files[0]} TEST_MASK\n{files[0]} TEST_LIST\n{files[1]} TEST_LIST\n")


def calibrated(frames):
    """Return a function that replaces all calibration frames."""

    def act():
        recipe.calib = frames
        return [(c.tag, c.frames) for c in recipe.calib]

    return act


ask("calib = SOF", calibrated("some.sof"))
ask("calib = {}", calibrated({}))


def result(*data, **options):
    """Return a function that runs the recipe."""

    def act():
        made = recipe(*data, **options)
        header = {}
        if not isinstance(getattr(made, table), str):
            first = getattr(made, table)
            hdus = first if hasattr(first, "writeto") else first[0]
            record = {
                key[13:]: item for key, item in hdus[0].header.items() if key.startswith("ESO PRO REC1 ")
            }
            header = {
                key: item for key, item in record.items() if "RAW" in key or "CAL" in key or "PARAM" in key
            }
        return {
            "tags": made.tags, "image": getattr(made, image), "table": made[table], "len": len(made),
            "pairs": sorted(tag for tag, _ in made), "in": (table in made, "NOPE" in made),
            "error": made.error,
            "status": made.stat.return_code, "times": made.stat.user_time > 0, "warning": made.log.warning,
            "error log": made.log.error, "header": header,
        }  # fmt: skip

    return act


ask("call: nothing", lambda: recipe())
ask("call: empty list", result([]))
ask("call: file", result(files[0]))
ask("call: list of one", result([files[0]]))
ask("call: several", result(*files))
ask("call: dict", result({raw_tag: [files[0]]}))
ask("call: raw=", result(raw={raw_tag: files, "TEST_MASK": files[0]}))
ask("call: missing file", result("no-such.fits"))
ask("call: param and calib", result(files[0], param={"nrow": 44}, calib={"TEST_MASK": files[1]}))
ask("call: unknown param", result(files[0], param={"nope": 44}))
ask("call: bad param", result(files[0], param={"nrow": "x"}))
ask("call: unknown calib", result(files[0], calib={"NOPE": files[0]}))
ask("call: empty string", result(files[0], param={"title": ""}))
ask("call: other tag", result(files[0], tag="TEST_MASK"))
from astropy.io import fits  # noqa: E402

with fits.open(files[0]) as hdus:
    ask("call: HDUList", lambda: result(hdus)()["tags"])


def kept():
    made = recipe(files, output_dir="kept/here", env={"HOME": None, "SOMETHING": "1"})
    return (
        sorted(os.listdir("kept/here")),
        [os.path.relpath(path) for path in getattr(made, image)],
        os.path.isabs(made.dir),
        os.path.basename(made.dir),
    )


ask("output_dir", kept)
ask("unknown product", lambda: recipe(files[0]).NOPE)
ask("unknown product item", lambda: recipe(files[0])["NOPE"])


def failing(fault, **options):
    """Return a function that tells what is in the error of a failed run."""

    def act():
        try:
            getattr(recipe(files[0], param={"fault": fault}, **options), table)
        except cpl.CplError as error:
            chain = [
                (one.code, one.msg.split(" (/")[0], one.function, os.path.basename(one.file)) for one in error
            ]
            return (
                error.retval,
                chain,
                error.line > 0,
                error.log.error[0].split(" (/")[0],
                str(error).split(" (/")[0],
            )
        return "no error"

    return act


for fault in ("raise", "recipe", "input", "half"):
    ask(f"failure: {fault}", failing(fault))
ask("failure: threaded", failing("recipe", threaded=True))
ask("threaded", lambda: getattr(recipe(files[0], threaded=True), table))


class Collector(logging.Handler):
    """Notes names and levels of records."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append((record.name, record.levelname, record.funcName))


def logged(logger_name, **options):
    collector = Collector()
    logger = logging.getLogger(logger_name)
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG)
    try:
        recipe(files[0], **options)
    finally:
        logger.removeHandler(collector)
    return collector.seen


ask("log", lambda: logged("cpl"))
ask("logname and level", lambda: logged("mine", logname="mine", loglevel=logging.INFO))
ask("init", lambda: cpl.esorex.init())
ask(
    "levels",
    lambda: [
        setattr(cpl.esorex.msg, "level", level) or cpl.esorex.msg.level for level in ("info", "off", 30)
    ],
)
ask("bad level", lambda: setattr(cpl.esorex.msg, "level", "loud"))
ask("load_sof", lambda: cpl.esorex.load_sof("some.sof"))
ask("load_sof text", lambda: cpl.esorex.load_sof("a A\nb B RAW\nc A\n# x\n\n d  E\n"))
ask("load_rc", lambda: cpl.esorex.load_rc("some.rc"))
ask("formats", lambda: (cpl.esorex.msg.format, cpl.esorex.log.format))
with open("es.rc", "w") as stream:
    stream.write(
        "esorex.caller.recipe-dir=/a:/b\nesorex.caller.msg-level=off\nesorex.caller.log-file=zz.log\n"
    )


def initialised():
    cpl.esorex.log.level = "off"
    cpl.esorex.init("es.rc")
    return cpl.Recipe.path, cpl.esorex.msg.level, cpl.esorex.log.filename


ask("init from file", initialised)
json.dump(answers, sys.stdout, indent=1)
