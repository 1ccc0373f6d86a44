# SPDX-License-Identifier: Apache-2.0
"""libFuzzer targets."""

def fuzz_target(name, srcs, deps = [], corpus = [], dictionary = None, max_len = 4096, copts = [], **kwargs):
    """A libFuzzer program `name` (needs --config=fuzz, so "manual"), and a test that replays its corpus.

    `srcs` define LLVMFuzzerTestOneInput. `tests/run fuzz` finds the program by its tag "fuzz". The test `name`_corpus feeds
    the empty input and each file of `corpus` to the same function in every other configuration.

    Args:
      name: the program.
      srcs: C files.
      deps: libraries under test.
      corpus: files, such as glob(["corpus/parser/*"], allow_empty = True).
      dictionary: a libFuzzer dictionary file, or None.
      max_len: longest input that libFuzzer makes.
      copts: more compiler flags.
      **kwargs: for both rules.
    """
    data = corpus + ([dictionary] if dictionary else [])
    native.cc_binary(
        name = name,
        srcs = srcs,
        copts = copts,
        data = data,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual", "fuzz", "fuzz_max_len=%d" % max_len] +
               (["fuzz_dict=" + dictionary] if dictionary else []),
        testonly = True,
        deps = deps,
        **kwargs
    )
    native.cc_test(
        name = name + "_corpus",
        size = "small",
        srcs = srcs + ["//third_party:fuzz_replay.c"],
        args = ["$(locations %s)" % f for f in corpus],
        copts = copts,
        data = corpus,
        deps = deps,
        **kwargs
    )
