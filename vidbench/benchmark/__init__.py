"""How fast is it, and what does it cost in accuracy? A module a table, printed by scripts/benchmark.py.

Each module has `add_arguments(parser)` and `table(wanted, folder)`, which yields Markdown lines as they are measured;
`folder` is an empty one for its files. Rows take turns, round after round, and ratios are taken within a round, because
machines drift. Weights do not change the speed, so architectures run with random ones, on as many classes as
Kinetics-400 has.
"""
