"""Autobahn's report in short: a count a chapter, every case that is not plainly OK. With a file, fails where the result is worse.

    summary.py reports/index.json [results.json]         compares
    summary.py reports/index.json --write results.json   keeps
"""

import collections
import json
import sys

# From best to worst. A case may become better than what is kept, not worse.
ORDER = ["OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT", "FAILED"]


def rank(behavior):
    return ORDER.index(behavior) if behavior in ORDER else len(ORDER)


def number(case):
    return [int(part) for part in case.split(".")]


def main():
    with open(sys.argv[1]) as f:
        cases = json.load(f)["voxgate"]
    results = {case: [r["behavior"], r["behaviorClose"]] for case, r in cases.items()}
    chapters = collections.defaultdict(collections.Counter)
    for case, (behavior, close) in results.items():
        worst = max(behavior, close, key=rank)
        chapters[int(case.split(".")[0])][worst] += 1
    for chapter, counts in sorted(chapters.items()):
        print("chapter %2d: %s" % (chapter, ", ".join("%s %d" % (b, counts[b]) for b in sorted(counts, key=rank))))
    print("%d cases" % len(results))
    failed = [c for c, r in results.items() if max(map(rank, r)) > rank("UNIMPLEMENTED")]
    for case in sorted(failed, key=number):
        print("case %s: %s, close %s" % (case, *results[case]))
    if "--write" in sys.argv:
        with open(sys.argv[3], "w") as f:
            lines = ["%s: %s" % (json.dumps(c), json.dumps(results[c])) for c in sorted(results, key=number)]
            f.write("{\n" + ",\n".join(lines) + "\n}\n")
    elif len(sys.argv) > 2:
        with open(sys.argv[2]) as f:
            kept = json.load(f)
        worse = [
            "case %s: was %s, is %s" % (c, kept[c], results.get(c, "not run"))
            for c in sorted(kept, key=number)
            if c not in results or any(rank(now) > rank(was) for now, was in zip(results[c], kept[c]))
        ]
        print("\n".join(worse) or "none is worse than tests/autobahn/results.json")
        sys.exit(1 if worse else 0)
    sys.exit(1 if failed else 0)


main()
